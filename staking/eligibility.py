"""Rule 7: may this account be enrolled? Every reason against it, as a code and a sentence."""

from collections.abc import Mapping

from staking.models import Activation, RefusalReason
from staking.program import Program, app_version_at_least
from staking.tag import qualifies

DOCUMENT_NOT_ACCEPTED = "document_not_accepted:"
"""How the codes about documents begin; the document's name follows."""


def refusal_reasons(activation: Activation, holdings: Mapping[str, int], program: Program) -> list[RefusalReason]:
    """Rule 7: every reason to refuse; empty if the account is eligible. Holdings are in units at the activation
    instant."""
    reasons: list[RefusalReason] = []
    if program.restricts(activation.region):
        reasons.append(
            RefusalReason(
                code="region_restricted",
                sentence=f"Soft Staking is not offered in region {activation.region}.",
            )
        )
    if activation.channel == "app" and not _app_is_recent(activation.app_version, program):
        have = f"this is {activation.app_version}" if activation.app_version else "the version was not given"
        reasons.append(
            RefusalReason(
                code="app_version_too_old",
                sentence=f"The app must be version {program.minimum_app_version} or later; {have}.",
            )
        )
    for name, version in program.documents.items():
        if activation.documents.get(name) != version:
            title = name.replace("_", " ")
            reasons.append(
                RefusalReason(
                    code=f"{DOCUMENT_NOT_ACCEPTED}{name}",
                    sentence=f"The {title} must be accepted in the version in force, {version}.",
                )
            )
    if not any(qualifies(holdings.get(asset, 0), terms) for asset, terms in program.assets.items()):
        reasons.append(
            RefusalReason(
                code="no_qualifying_asset",
                sentence="No program asset is held at or above its minimum.",
            )
        )
    return reasons


def _app_is_recent(version: str | None, program: Program) -> bool:
    return version is not None and app_version_at_least(version, program.minimum_app_version)
