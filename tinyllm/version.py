"""Give the version of this library, and the name under which a package index may list it.

`pip install tinyllm` installs another project that had the name first; import name and command stay tinyllm.
"""

__version__ = "0.1.0"
DISTRIBUTION = "tinyllm-lab"
WHEEL = DISTRIBUTION.replace("-", "_")  # the first part of the file names of its wheels and sdists
