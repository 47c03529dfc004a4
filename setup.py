"""What setup.cfg cannot say: a build takes nothing from the folder that an earlier one left.

setuptools puts all of `build/lib` into a wheel, also modules that have long been renamed.
"""

from __future__ import annotations

import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class FreshBuild(build_py):
    """Collects the modules in an empty folder."""

    def run(self) -> None:
        """Empty the folder, then do as always."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": FreshBuild})
