"""Reasons: the constants in conditions and events that tools may rely on."""

# Ready
INITIALIZED = "Initialized"
PROMOTED = "Promoted"
REVERTED = "Reverted"

# Reconciling
NEW_REVISION = "NewRevision"
TARGET_NOT_READY = "TargetNotReady"
CANARY_NOT_READY = "CanaryNotReady"
STABLE_NOT_READY = "StableNotReady"
WEIGHT_CHANGED = "WeightChanged"
CHECKS_PASSED = "ChecksPassed"
CHECKS_FAILED = "ChecksFailed"
CHECKS_INCONCLUSIVE = "ChecksInconclusive"
PROVIDER_FAILED = "MetricProviderFailed"
PROMOTING = "Promoting"
SUSPENDED = "Suspended"
RELEASING = "Releasing"

# Stalled
ROLLED_BACK = "RolledBack"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
PROMOTION_STUCK = "PromotionStuck"
INVALID_SPEC = "InvalidSpec"
TARGET_NOT_FOUND = "TargetNotFound"
TARGET_IN_USE = "TargetInUse"
TARGET_NOT_HELD = "TargetNotHeld"
NO_SERVICE = "NoService"
NO_INGRESS = "NoIngress"
UNSUPPORTED_INGRESS = "UnsupportedIngress"
CONFLICTING_CANARY = "ConflictingCanaryIngress"
NAME_TAKEN = "NameTaken"
ACTION_REFUSED = "ActionRefused"

# Guarded
GUARD_INSTALLED = "GuardInstalled"
GUARD_MISSING = "GuardMissing"
GUARD_UNBOUND = "GuardUnbound"
GUARD_USER = "GuardExemptsAnotherUser"
