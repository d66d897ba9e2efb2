"""stub"""
from dataclasses import dataclass
from pathlib import Path
FILE_NAME="guest.qcow2"
@dataclass(frozen=True)
class Template:
    path: Path
    sha256: str
def build(say):
    Path("/tmp/stub").write_text("x"); return Template(Path("/tmp/stub"),"0"*64)
