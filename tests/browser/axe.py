"""Holds a view against axe's rules, and its width against the window's."""

from pathlib import Path

from tests.browser.person import Person

AXE = Path(__file__).with_name("axe.min.js").read_text("utf-8")
SETTLE = """() => Promise.all(document.getAnimations().map(
  (one) => one.effect.getTiming().iterations === Infinity || one.finished))"""
FIND = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const told = ({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`;
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(told).join(" | ")}`);
}"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def examine(person: Person, name: str) -> None:
    """Find nothing serious in what is shown, and nothing to scroll to sideways. `name` says what it is."""
    person.page.run(SETTLE)
    if not person.page.run("() => 'axe' in globalThis"):
        person.page.ask("Runtime.evaluate", expression=AXE)
    assert person.page.run(FIND) == [], name
    width, window = person.page.run(WIDTHS)
    assert width <= window, name
