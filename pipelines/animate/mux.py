"""The file that is handed out: the encoded video with tags and, where wanted, the driver's sound of the same span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from pipelines.video.probe import BadVideo, open_video


def with_tags(source: Path, target: Path, tags: Mapping[str, str]) -> None:
    """The same stream of pictures in an mp4 with tags. The same input gives the same bytes."""
    with av.open(f"file:{source}") as video, _open(target, tags) as out:
        _copy_video(video, out)


def with_sound(source: Path, target: Path, tags: Mapping[str, str], driver: Path, start: float) -> str | None:
    """As `with_tags`, with the sound of `driver` from `start` seconds on, as long as the pictures last.

    Runs in a child process: the driver is foreign. Returns why there is no sound, or None.
    """
    try:
        with open_video(driver) as foreign:
            if not foreign.streams.audio:
                with_tags(source, target, tags)
                return "the driving video has no sound"
            with av.open(f"file:{source}") as video, _open(target, tags) as out:
                stream = video.streams.video[0]
                length = float(stream.frames / Fraction(stream.average_rate or 1))
                sound = _sound_stream(foreign.streams.audio[0], out)
                _copy_video(video, out)
                _encode_sound(foreign, sound, out, start, length)
    except (BadVideo, av.error.FFmpegError) as error:
        with_tags(source, target, tags)
        return f"the driving video's sound cannot be read: {error}"
    return None


def _open(target: Path, tags: Mapping[str, str]) -> av.container.OutputContainer:
    out = av.open(f"file:{target}", "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"})
    for key, value in tags.items():
        out.metadata[key] = value
    return out


def _copy_video(video: av.container.InputContainer, out: av.container.OutputContainer) -> None:
    stream = video.streams.video[0]
    target = out.add_stream_from_template(stream)
    for packet in video.demux(stream):
        if packet.dts is not None:
            packet.stream = target
            out.mux(packet)


def _sound_stream(sound: av.AudioStream, out: av.container.OutputContainer) -> av.AudioStream:
    rate = sound.codec_context.sample_rate or 48000
    rate = rate if rate in (22050, 24000, 32000, 44100, 48000) else 48000
    target = out.add_stream("aac", rate=rate)
    target.bit_rate = 160_000
    target.codec_context.layout = "mono" if sound.codec_context.channels == 1 else "stereo"
    target.codec_context.thread_count = 1
    target.codec_context.flags |= av.codec.context.Flags.bitexact
    return target


def _encode_sound(
    foreign: av.container.InputContainer,
    target: av.AudioStream,
    out: av.container.OutputContainer,
    start: float,
    length: float,
) -> None:
    """Sample-exact: cut at the start, cut at the end, silence where the sound begins later or ends sooner."""
    source = foreign.streams.audio[0]
    rate, layout = target.codec_context.sample_rate, target.codec_context.layout.name
    begin, wanted, written = start + _origin(foreign), round(length * rate), 0

    def write(samples: NDArray[np.float32]) -> None:
        nonlocal written
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, written, Fraction(1, rate)
        written += samples.shape[1]
        out.mux(target.encode(frame))

    for at, samples in _resampled(foreign, source, layout, rate):
        first = round((at - begin) * rate)
        gap = min(first, wanted) - written
        if gap > 0:
            write(np.zeros((len(samples), gap), np.float32))
        part = samples[:, max(0, written - first) :][:, : wanted - written]
        if part.shape[1]:
            write(part)
        if written >= wanted:
            break
    out.mux(target.encode(None))


def _resampled(
    foreign: av.container.InputContainer, source: av.AudioStream, layout: str, rate: int
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """(seconds on the file's clock, samples (channels, n)) in order."""
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    for decoded in foreign.decode(source):
        at = decoded.time
        for frame in resampler.resample(decoded):
            samples = np.asarray(frame.to_ndarray(), np.float32)
            yield frame.time if frame.time is not None else at or 0.0, samples


def _origin(foreign: av.container.InputContainer) -> float:
    """Seconds on the file's clock at which its pictures begin."""
    stream = foreign.streams.video[0]
    return float((stream.start_time or 0) * (stream.time_base or 0))
