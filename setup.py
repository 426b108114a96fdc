"""Package metadata, read from settings.ini as nbdev does; without its `pkg_resources` and with nested packages."""
from configparser import ConfigParser

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=["="])
parser.read("settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
dev, docs, rfx = (cfg[f"{extra}_requirements"].split() for extra in ("dev", "docs", "rfx"))

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    license="Apache-2.0",
    url=cfg["git_url"],
    keywords=cfg["keywords"],
    packages=find_packages(include=["sportsml*"]),
    package_data={"sportsml": ["**/*.csv"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={"dev": dev, "docs": docs, "rfx": rfx},
    entry_points={"console_scripts": cfg["console_scripts"].split()},
    zip_safe=False,
)
