"""A network as a picture: its elements (`picture`), where they lie (`layout`), and the picture as
text (`text`) and as a page (`page`).

Does not draw on a screen.
"""

from __future__ import annotations

from fission.project.drawing.layout import ArrowPath, Layout
from fission.project.drawing.page import html, svg
from fission.project.drawing.picture import Arrow, Box, Picture, PictureOptions, picture_of
from fission.project.drawing.text import dot, mermaid

__all__ = ["Arrow", "ArrowPath", "Box", "Layout", "Picture", "PictureOptions", "dot", "html", "mermaid", "picture_of", "svg"]
