"""The two lists of algorithms, each of which would do by itself: what the header may name, what the library may use."""

import pytest
from joserfc.errors import UnsupportedAlgorithmError

from app.api.sign_in import Registry
from app.domain.errors import AuthenticationFailed
from app.domain.sign_in import ALGORITHMS, require_header

OTHERS = ["none", "None", "HS256", "HS512", "ES256K", "rs256", "RSA-OAEP", ""]


@pytest.mark.parametrize("algorithm", OTHERS)
def test_algorithms__others_are_refused_twice(algorithm: str) -> None:
    with pytest.raises(AuthenticationFailed, match="must be signed with one of ES256"):
        require_header({"alg": algorithm, "kid": "k"})
    with pytest.raises(UnsupportedAlgorithmError):
        Registry().get_alg(algorithm)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_algorithms__ours_are_known_to_the_library(algorithm: str) -> None:
    assert require_header({"alg": algorithm, "kid": "k"}) == (algorithm, "k")
    assert Registry().get_alg(algorithm).name == algorithm
