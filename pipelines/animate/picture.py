"""Reading a reference picture that somebody brought. Runs in a child process: pictures crash decoders too."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pipelines.engine.ledger import Outcome
from pipelines.video.decode import working_size

# What is opened at all: no format that names other files or runs a program (EPS, PDF).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
MAX_ASPECT = 8.0
PICTURE_FILE = "picture.png"


class BadPicture(ValueError):
    """A file that is no use as a reference. `reason`: unreadable, not_a_picture, undecodable, too_small, too_large."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives the way out of a child process
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


def take_picture(path: str, folder: Path, min_side: int) -> Outcome:
    """Write the upright sRGB picture, at most as large as the frames of the training data, as a PNG into `folder`."""
    try:
        picture = read_picture(path, min_side)
    except BadPicture as error:
        return Outcome("quarantined", error.reason, str(error))
    height, width = picture.shape[:2]
    size = working_size(width, height)
    if size != (width, height):
        method = cv2.INTER_AREA if size[0] < width or size[1] < height else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
    Image.fromarray(picture).save(folder / PICTURE_FILE, compress_level=1)
    return Outcome(info={"size": list(size), "original": [width, height]}, frames=1)


def read_picture(path: str, min_side: int) -> np.ndarray:
    """uint8 (H, W, 3), sRGB, upright; transparency over white. Raises `BadPicture`."""
    Image.init()
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as opened:
            warnings.simplefilter("ignore")
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise BadPicture("too_large", f"{path}: {width} x {height} pixels; at most {MAX_PIXELS:,} are read")
            if min(width, height) < min_side:
                raise BadPicture("too_small", f"{path}: {width} x {height} pixels; both sides must have {min_side}")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise BadPicture(
                    "too_large", f"{path}: {width} x {height}: one side is more than {MAX_ASPECT:g} times the other"
                )
            opened.load()
            return np.asarray(_srgb(ImageOps.exif_transpose(opened)), np.uint8)
    except UnidentifiedImageError:
        raise BadPicture("not_a_picture", f"{path}: is no picture; JPEG, PNG, WebP, BMP and TIFF are read") from None
    except OSError as error:
        reason = "unreadable" if error.errno else "undecodable"
        raise BadPicture(reason, f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise BadPicture("undecodable", f"{path}: cannot be decoded: {error}") from error


def _srgb(picture: Image.Image) -> Image.Image:
    """RGB without transparency, in sRGB where the file tells its colours."""
    if picture.mode == "P" or "A" in picture.getbands() or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        picture = Image.alpha_composite(white, clear)
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            picture = converted or picture
        except ImageCms.PyCMSError:
            pass  # a broken profile: the numbers are taken as they are, as browsers do
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture, np.uint16) >> 8).astype(np.uint8))
    return picture.convert("RGB")
