"""The package gathers the names of its modules."""

import pkgutil

from glo_lib import inference


def test_every_public_name_comes_from_a_module_that_the_package_lists():
    for name in inference.__all__:
        module = getattr(getattr(inference, name), "__module__", "glo_lib.inference.priors")  # PRIORS is a dictionary
        assert any(f"`{place}`" in inference.__doc__ for place in (module, module.rpartition(".")[0])), name
    for module in pkgutil.iter_modules(inference.__path__):
        assert f"- `glo_lib.inference.{module.name}`: " in inference.__doc__
