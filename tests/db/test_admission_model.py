"""The simulation admits by a model of `claims.admit`: both choose the same jobs, one admission after the other."""

import random

from app.db import access, jobs
from app.db.engine import Connection
from app.db.tables import projects
from app.domain.job import Job, Priority
from app.domain.states import JobState
from bench.admission import Admission
from tests.db.conftest import T0, MakeJob, admit, later

PROJECTS, PLACES, LIMIT = 5, 12, 3


def test_admission__chooses_as_the_database_does(conn: Connection, make_job: MakeJob) -> None:
    chance = random.Random(7)
    owners = sorted(access.create_project(conn, f"team {number}", now=T0).id for number in range(PROJECTS))
    conn.execute(projects.update().where(projects.c.id == owners[0]).values(max_in_flight=LIMIT))
    model = Admission(PROJECTS, places=PLACES, limits={0: LIMIT})
    made: list[str] = []
    flying: list[Job] = []
    for beat in range(25):
        for _ in range(chance.randrange(8)):
            project, priority = chance.choice((0, 0, 1, 1, 2, 3, 4)), chance.choice(list(Priority))
            made.append(make_job(id=f"job_{len(made):032x}", project_id=owners[project], priority=priority).id)
            model.enqueue(len(made) - 1, project=project, priority=priority)
        for _ in range(min(len(flying), chance.randrange(6))):
            job = flying.pop(chance.randrange(len(flying)))
            jobs.advance(conn, job, to=JobState.CANCELED, now=later(beat), settled=True)
            model.free(owners.index(job.project_id))
        admitted = [job for job, _ in admit(conn, now=later(beat), most=PLACES)]
        assert [job.id for job in admitted] == [made[number] for number, _ in model.admit(later(beat).timestamp())]
        flying += admitted
    assert model.occupied == len(flying) > LIMIT
