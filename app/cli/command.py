"""The command's root: every subcommand hangs here."""

from app.cli import access, client, demo, doctor, ledger, restoring, serving, top, trail, upstream
from app.cli.root import new_root

HOST = "Run the service (on its host)"

app = new_root()
client.register(app)
demo.register(app, panel=HOST)
serving.register(app, panel=HOST)
doctor.register(app, panel=HOST)
restoring.register(app, panel=HOST)
top.register(app, panel=HOST)
trail.register(app, panel=HOST)
app.add_typer(access.projects, name="projects", rich_help_panel=HOST)
app.add_typer(access.keys, name="keys", rich_help_panel=HOST)
app.add_typer(ledger.ledger, name="ledger", rich_help_panel=HOST)
app.add_typer(upstream.upstream, name="upstream", rich_help_panel=HOST)
