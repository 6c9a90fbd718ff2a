"""`make torture`: the real service, killed, stopped, stalled and lied to, and a judge who counts what was bought."""
