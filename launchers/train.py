"""What `deepspeed`, `torchrun` and Slurm start on every rank: launchers/train.py CONFIG [key=value ...].

In: the words of the command line. Out: a finished run. All of the training is sentalign/train.py.
"""

import runpy
import sys

if __name__ == "__main__":
    # DeepSpeed's launcher adds --local_rank=N; the same number is in the environment.
    sys.argv[1:] = [word for word in sys.argv[1:] if not word.startswith("--local_rank=")]
    runpy.run_module("sentalign.train", run_name="__main__")
