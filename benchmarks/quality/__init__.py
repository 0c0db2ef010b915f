"""Image quality of nelbo, diffusers and denoising-diffusion-pytorch after the same training time on the same cores.

    python -m benchmarks.quality --out runs/quality --minutes 10 60 [--models nelbo diffusers ...]
    python -m benchmarks.quality --out runs/tuning --minutes 10 --recipe wide:fashion-mnist,network.base=48

The stages are train, sample, measure and table. Each one skips what is done, and a stopped command resumes when it is
run again: training resumes from a state that is saved every minute. Only training counts as training time, not saving
or starting. The folder `--out` has one folder per budget and model:

- `train.json`: steps, seconds, parameters, peak memory and settings; `run` or `model.safetensors`: the averaged weights
- `sampler.json`: the candidates, their kernel distances and the chosen sampler; `samples.npy` (uint8); `grid.png`
- `first.json` and `second.json`: the figures in the features of each classifier; `neighbours.png`

`--final` measures with the second classifier, which has another architecture and another seed. Use it once, after all
choices were made with the first one. Restrict the command to certain cores with the system's own tools, such as
`taskset`. GPUs are not used.
"""
