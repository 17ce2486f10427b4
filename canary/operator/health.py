"""/healthz and /readyz: what the kubelet asks."""

from collections.abc import Callable

from aiohttp import web

STUCK_AFTER_SECONDS = 120.0
"""A key that waits this long for a worker means that the process no longer works."""


async def serve(port: int, oldest_age_seconds: Callable[[], float]) -> web.AppRunner:
    """Start the server. A standby is healthy and ready: it is doing its job."""

    async def healthz(_: web.Request) -> web.Response:
        age = oldest_age_seconds()
        if age > STUCK_AFTER_SECONDS:
            return web.Response(status=503, text=f"the oldest key has been waiting for {age:.0f} s\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
