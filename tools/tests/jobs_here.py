"""Jobs in the process of the test: a third of the time, where the test is not about processes."""

import json
import pickle


def call_here(call: bytes, *_: object, **__: object) -> str:
    """Make a call of `tools/jobs/processes.in_process` in this process. Return its result as JSON."""
    function, arguments = pickle.loads(call)
    return json.dumps(function(*arguments))
