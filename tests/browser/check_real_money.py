"""What the page says where videos cost money: the price first, and what was bought already before each decision."""

from collections.abc import Iterator

import pytest

from tests.acceptance.processes import Deployment, sandbox
from tests.browser.chromium import Page
from tests.browser.person import Person

STATE = "document.querySelector('.result .state')?.textContent"


@pytest.fixture
def paying(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody in the playground of a service that is not told its upstream is simulated."""
    folder = tmp_path_factory.mktemp("paid")
    with sandbox(folder, "--speed", "30") as upstream:
        deployment = Deployment(folder, upstream_url=upstream, database_url=None)
        try:
            key = deployment.new_key()
            base = deployment.serve()[1]
            person = Person(page)
            person.looks()
            person.opens(f"{base}/", key=key)
            yield person
        finally:
            deployment.close()


def test_money__is_named_before_it_is_spent_and_before_it_is_lost(paying: Person) -> None:
    paying.sees_text("About $2.50", within=".price strong")
    paying.sees_text("Real money", within=".badge.real")
    assert not paying.page.run("() => /simulated|free/i.test(document.body.innerText)")
    paying.clicks("#make")
    paying.sees("document.querySelector('.result video')")
    paying.sees_text("$2.50", within=".result .line")
    paying.fills("[name=prompt]", "[[fault:slow=60]] A boat that is paid for.")
    paying.clicks("#make")
    paying.sees(f"{STATE} === 'Generating'")
    paying.clicks(".result button", "Cancel")
    paying.clicks(".result button", "Cancel, though it is paid for?")
    paying.sees(f"{STATE} === 'Canceled'")
    paying.sees_text("Bought before it was canceled.", within=".result .line")
    paying.clicks(".result button", "Retry")
    paying.sees_text("Retry, and pay again?", within=".result .actions")
