"""Whatever happens to a cloud, in any order: invariants hold after each step, and everything comes to rest as declared.

The real engine, kinds, fleet, lanes and placement on the simulated driver, in virtual time, with an API server in
memory. The same sequences each time; a failure is printed as a program of the machine's steps, which replays it: put
it into a test. Others, and more of them: tests/soak/model.
"""

from tests.drivers.images import ImageServer
from tests.model.searching import quietly, search

EXAMPLES, STEPS = 12, 30


def test_whatever_happens_invariants_hold_and_all_comes_to_rest_as_declared(images: ImageServer) -> None:
    with quietly():
        covered = search(images, examples=EXAMPLES, steps=STEPS)
    print(covered)
    assert covered.examples >= EXAMPLES
