"""What a job is: states, errors, pacing, money and the public view. Pure: no I/O, no clock, no framework."""
