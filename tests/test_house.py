"""The house: who imports whom, how the notebooks look, what has to agree with what."""


def test_placeholder():
    import robustlib  # noqa: F401
