"""What a 2xx promises, under kill -9: the version and its index rows are on disk, anything else is absent."""

import pytest

pytest.register_assert_rewrite("tests.crash.promises", "tests.crash.tables")
