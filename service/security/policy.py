"""From settings to the gate's policy: whether keys are needed here, and the refusal to start where they are missing."""

from service.security.access import Policy
from service.security.hosts import hosts_for, is_loopback
from service.security.keys import KeyRing, read_keys
from service.security.rate import Buckets
from service.settings import Settings, SettingsError


def access_policy(settings: Settings) -> Policy:
    """The policy. Raises SettingsError when the service would be open to others without anybody having said so."""
    ring = KeyRing(settings.keys_path()) if _needs_keys(settings) else None
    return Policy(
        hosts=hosts_for(settings.host, settings.allowed_hosts),
        keys=ring,
        rate=Buckets(settings.rate_per_s, settings.rate_burst),
    )


def _needs_keys(settings: Settings) -> bool:
    if settings.auth == "off":
        return False
    path = settings.keys_path()
    # Revoked keys count: who has revoked the last one does not want the doors open.
    if read_keys(path):
        return True
    if settings.auth == "auto" and is_loopback(settings.host):
        return False
    how = "make one with `deceptron keys create NAME`, or set DECEPTRON_AUTH=off to serve everybody on purpose"
    where = f"{settings.host} can be reached from other machines" if settings.auth == "auto" else "DECEPTRON_AUTH is on"
    raise SettingsError(f"DECEPTRON_AUTH: {where}, but {path} holds no API key: {how}")
