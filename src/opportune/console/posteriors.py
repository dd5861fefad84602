"""What a bandit believes of its arms, as intervals drawn in the table that says the same."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from opportune.experiments.bandits.picture import ArmPicture

WIDTH = 1000


def posteriors(arms: Sequence[ArmPicture], *, caption: str, share: str = "Share now") -> Markup:
    """Every arm's share and the interval of its expected reward, on one scale from the least to the most."""
    low = min((arm.low for arm in arms), default=0.0)
    high = max((arm.high for arm in arms), default=1.0)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return WIDTH * (value - low) / span

    body = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="plot">'
            '<svg viewBox="0 0 {} 20" preserveAspectRatio="none" aria-hidden="true">'
            '<rect class="mark-b" x="{:.1f}" y="6" width="{:.1f}" height="8"/>'
            '<rect class="mark-a" x="{:.1f}" y="2" width="6" height="16"/></svg></td>'
            '<td class="num">{:.2%}</td><td class="num">{:.2%} to {:.2%}</td>'
            '<td class="num">{:,.0f}</td><td class="num">{:,.0f}</td><td class="num">{:.1%}</td></tr>'
        ).format(
            arm.arm, WIDTH, x(arm.low), max(x(arm.high) - x(arm.low), 4.0), min(x(arm.mean), WIDTH - 6),
            arm.mean, arm.low, arm.high, arm.trials, arm.rewards, arm.share,
        )
        for arm in arms
    )  # fmt: skip
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}, table">'
        '<table class="chart lifts"><caption>{caption}</caption><thead><tr><th scope="col">Arm</th>'
        '<th scope="col">From {low:.2%} to {high:.2%}</th><th scope="col" class="num">Reward</th>'
        '<th scope="col" class="num">95 %</th><th scope="col" class="num">Trials</th>'
        '<th scope="col" class="num">Rewards</th><th scope="col" class="num">{share}</th></tr></thead>'
        "<tbody>{body}</tbody></table></div>"
    ).format(caption=caption, share=share, low=low, high=high, body=body)
