"""Reasons: the constants in conditions and events that tools may rely on."""

# Ready
INITIALIZED = "Initialized"
PROMOTED = "Promoted"
REVERTED = "Reverted"

# Reconciling, at a gate
PAUSED = "Paused"
FROZEN = "Frozen"
ALERT_FIRES = "AlertFires"
MANUAL_GATE = "ManualGate"
WEBHOOK_GATE = "WebhookGate"
FAILURE_HELD = "FailureHeld"

# Reconciling
NEW_REVISION = "NewRevision"
TARGET_NOT_READY = "TargetNotReady"
CANARY_NOT_READY = "CanaryNotReady"
STABLE_NOT_READY = "StableNotReady"
WEIGHT_CHANGED = "WeightChanged"
JUDGING = "Judging"
CHECKS_PASSED = "ChecksPassed"
CHECKS_FAILED = "ChecksFailed"
CHECKS_INCONCLUSIVE = "ChecksInconclusive"
ROUTING_NOT_EFFECTIVE = "RoutingNotEffective"
PROVIDER_FAILED = "MetricProviderFailed"
STRAIGHT_THROUGH = "StraightThrough"
PROMOTING = "Promoting"
SUSPENDED = "Suspended"
RELEASING = "Releasing"

# Stalled
ROLLED_BACK = "RolledBack"
ABORTED = "Aborted"
IMAGE_PULL_FAILED = "ImagePullFailed"
CRASH_LOOP = "CrashLoop"
OUT_OF_MEMORY = "OutOfMemory"
CONTAINER_CONFIG = "ContainerConfigInvalid"
UNSCHEDULABLE = "Unschedulable"
QUOTA_EXCEEDED = "QuotaExceeded"
PODS_REFUSED = "PodsRefused"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
PROMOTION_STUCK = "PromotionStuck"
INVALID_SPEC = "InvalidSpec"
METRIC_TEMPLATE_NOT_FOUND = "MetricTemplateNotFound"
INVALID_METRIC_TEMPLATE = "InvalidMetricTemplate"
TARGET_NOT_FOUND = "TargetNotFound"
TARGET_IN_USE = "TargetInUse"
TARGET_NOT_HELD = "TargetNotHeld"
NO_SERVICE = "NoService"
NO_INGRESS = "NoIngress"
UNSUPPORTED_INGRESS = "UnsupportedIngress"
CONFLICTING_CANARY = "ConflictingCanaryIngress"
NAME_TAKEN = "NameTaken"
ACTION_REFUSED = "ActionRefused"
WEBHOOK_REFUSED = "WebhookHostRefused"

# Events alone
COMMAND_HANDLED = "CommandHandled"
COMMAND_IGNORED = "CommandIgnored"
WEBHOOK_FAILED = "WebhookFailed"

# ConfigurationChanged
CHANGED_IN_PLACE = "ChangedInPlace"

# Guarded
GUARD_INSTALLED = "GuardInstalled"
GUARD_MISSING = "GuardMissing"
GUARD_UNBOUND = "GuardUnbound"
GUARD_USER = "GuardExemptsAnotherUser"

FAILURES = frozenset(
    {
        ROLLED_BACK,
        ABORTED,
        IMAGE_PULL_FAILED,
        CRASH_LOOP,
        OUT_OF_MEMORY,
        CONTAINER_CONFIG,
        UNSCHEDULABLE,
        QUOTA_EXCEEDED,
        PODS_REFUSED,
        DEADLINE_EXCEEDED,
    }
)
"""Why a rollout failed."""

GATES = frozenset({PAUSED, FROZEN, ALERT_FIRES, MANUAL_GATE, WEBHOOK_GATE, FAILURE_HELD})
"""What a rollout waits for that is not of its own making."""
