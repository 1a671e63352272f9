"""Stands in for packages that a client imports and that the code under test never calls, most of them huge.

A stand-in fails as soon as it is called, so that no test passes by what it says."""

import importlib.machinery
import sys
import types


class _Absent(type):
    """A class whose members are classes of the same kind, so that it can be a base, a decorator or an annotation."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name, (), {})

    def __call__(cls, *arguments, **named):
        raise RuntimeError(f"{cls.__name__} is a stand-in and was called")


class _Module(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name, (), {})


def stand_in(*names):
    """Puts a stand-in in the place of each module, and of the packages that it is in, unless they are there already."""
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            full = ".".join(parts[:count])
            if full not in sys.modules:
                module = _Module(full)
                module.__spec__ = importlib.machinery.ModuleSpec(full, None, is_package=True)
                sys.modules[full] = module
                if count > 1:
                    setattr(sys.modules[".".join(parts[: count - 1])], parts[count - 1], module)


def package_without_init(name):
    """Makes the modules of an installed package importable without running what it does when it is imported whole."""
    spec = importlib.machinery.PathFinder.find_spec(name.rsplit(".")[-1], _places(name))
    module = types.ModuleType(name)
    module.__path__ = list(spec.submodule_search_locations)
    module.__spec__ = spec
    sys.modules[name] = module
    if "." in name:
        parent, own = name.rsplit(".", 1)
        setattr(sys.modules[parent], own, module)


def _places(name):
    return sys.modules[name.rsplit(".", 1)[0]].__path__ if "." in name else None
