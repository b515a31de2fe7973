"""Paint and recognise pictures of 16 x 16 dots; each quarter can show a shape in a colour.

There are eight shapes and eight colours. A scene is a list of [quarter, colour, shape] in reading order.
`render` paints a scene from drawings; `recognise` finds the scene of a picture by symmetry and width, without
the drawings. All colours are brighter than the background, so brightness alone shows the shape.
"""

import re
from typing import Any

import numpy as np

from tinyllm.world.names import COLOURS

SIZE = 16
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
SKY = (10, 10, 30)
PAINT = ((230, 60, 50), (70, 120, 245), (60, 190, 80), (245, 220, 70), (250, 250, 250), (85, 80, 85),
         (160, 100, 50), (170, 90, 220))
SHAPES = {
    "heart": (".##.##.", "#######", "#######", "#######", ".#####.", "..###..", "...#..."),
    "house": ("...#...", "..###..", ".#####.", "#######", ".#####.", ".##.##.", ".##.##."),
    "tree": ("...#...", "..###..", ".#####.", "..###..", ".#####.", "#######", "...#..."),
    "star": ("...#...", "..###..", "#######", ".#####.", "..###..", ".##.##.", "#.....#"),
    "fish": (".......", ".###..#", "#####.#", "#.#####", "#####.#", ".###..#", "......."),
    "moon": ("..###..", ".###...", "###....", "###....", "###....", ".###...", "..###.."),
    "boat": ("...#...", "...##..", "...###.", "...#...", "#######", ".#####.", "..###.."),
    "cup": (".......", "#####..", "#######", "#####.#", "#######", "#####..", ".###..."),
}


def render(scene: list) -> np.ndarray:
    """Paint a scene and return its picture, uint8 (16, 16, 3)."""
    picture = np.full((SIZE, SIZE, 3), SKY, np.uint8)
    for quarter, colour, shape in scene:
        at = np.array([[dot == "#" for dot in row] for row in SHAPES[shape]])
        top, left = 8 * (QUARTERS.index(quarter) // 2), 8 * (QUARTERS.index(quarter) % 2)
        picture[top : top + 7, left : left + 7][at] = PAINT[COLOURS.index(colour)]
    return picture


def shown(document: Any) -> tuple[np.ndarray, str] | None:
    """Return a document's picture, and its prompt without the page number; None if there is no picture."""
    scene = document.labels.get("scene")
    return None if scene is None else (render(scene), re.sub(r"^Page \d+: ", "", document.prompt))


def recognise(picture: np.ndarray) -> list:
    """Return the scene that a picture (16, 16, 3) shows; the colours may be a little noisy."""
    far = ((picture[:, :, None].astype(int) - np.array([*PAINT, SKY])) ** 2).sum(-1)
    colours = far.argmin(-1)  # (16, 16): the number of the nearest colour, 8 for the sky
    scene = []
    for i, quarter in enumerate(QUARTERS):
        dots = colours[8 * (i // 2) : 8 * (i // 2) + 7, 8 * (i % 2) : 8 * (i % 2) + 7]
        if (dots < 8).any():
            colour = np.bincount(dots[dots < 8]).argmax()
            scene.append([quarter, COLOURS[int(colour)], _shape(dots < 8)])
    return scene


def _shape(at):
    """Name the shape of a mask (7, 7), by its symmetries and by the width of its edges."""
    if (at == at[:, ::-1]).all():  # symmetric from left to right
        top, bottom = at[0].sum(), at[-1].sum()
        return "heart" if top > 1 else {1: "tree", 2: "star"}.get(int(bottom), "house")
    if (at == at[::-1]).all():  # symmetric from top to bottom
        return "fish" if at[:, -1].any() else "moon"
    return "boat" if at[0].any() else "cup"
