#!/usr/bin/env python3
"""The training step of SpanKey in plain PyTorch, as a yardstick for bench/train_step.

--style reference   the way the reference implementation trains: PIL transforms image by image, keys through a matrix
                    product and a std read back to Python, two forward passes, default layouts and optimiser
--style tuned       the best plain PyTorch way we know: data resident, augmentation of the whole batch at once,
                    channels_last, correct and wrong key as one batch, ReLU after the pooling, fused Adam

Prints one JSON line: milliseconds of a step without the loader (median, minimum), with it, and seconds of an epoch.
"""
import argparse
import gzip
import json
import statistics
import struct
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MEAN, STD = 0.1307, 0.3081
KEY_DIM, GAMMA, TARGET_STD, WEIGHT = 8, 0.5, 0.5, 0.1


def read_idx(path):
    with gzip.open(path) as file:
        rank = struct.unpack(">I", file.read(4))[0] & 0xFF
        shape = struct.unpack(f">{rank}I", file.read(4 * rank))
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


class SmallCnn(nn.Module):
    """16 and 32 filters of 3x3, 2x2 pooling after each, one linear layer with a reject class; keys at 0 and 2."""

    def __init__(self, relu_after_pool):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 7 * 7, 11)
        self.relu_after_pool = relu_after_pool

    def stage(self, x, conv):
        if self.relu_after_pool:  # the same values: the maximum commutes with ReLU
            return F.relu(F.max_pool2d(conv(x), 2))
        return F.max_pool2d(F.relu(conv(x)), 2)

    def forward(self, x, keys):
        x = multiply(x, keys, 0)
        x = self.stage(self.stage(x, self.conv1), self.conv2)
        return self.fc(multiply(x, keys, 1).flatten(1))


class Mlp(nn.Module):
    """20-64-32-5 with ReLU; key at the input."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x, keys):
        return self.layers(x + 1.0 * keys[0])


def multiply(h, keys, point):
    factor = torch.clamp(1 + GAMMA * torch.tanh(keys[point]), 0.1, 2.0)
    return h * factor.view(-1, *h.shape[1:])


class ReferenceKeys:
    """One alpha a sample; both layers see prefixes of one vector; the std is read back to Python."""

    def __init__(self, widths, rows):
        self.widths = widths
        self.basis = (torch.rand(rows, max(widths)) * 2 - 1) / rows**0.5

    def rescale(self, key):
        return key * (TARGET_STD / (key.std().item() + 1e-8))

    def correct(self, n):
        key = self.rescale(torch.rand(n, self.basis.shape[0]) @ self.basis)
        return [key[:, :width] for width in self.widths]

    def wrong(self, n):
        key = self.rescale(torch.randn(1, max(self.widths)).expand(n, -1))
        return [key[:, :width] for width in self.widths]


class PilLoader:
    """torchvision transforms on PIL images, one at a time, in the training process."""

    def __init__(self, images, labels, batch):
        from PIL import Image
        from torchvision import transforms

        transform = transforms.Compose([
            transforms.RandomAffine(6, translate=(0.06, 0.06)),
            transforms.ToTensor(),
            transforms.Normalize((MEAN,), (STD,)),
        ])

        class Images(torch.utils.data.Dataset):
            def __len__(self):
                return len(images)

            def __getitem__(self, i):
                return transform(Image.fromarray(images[i])), int(labels[i])

        self.loader = torch.utils.data.DataLoader(Images(), batch_size=batch, shuffle=True, drop_last=True)

    def __iter__(self):
        device, cpu = torch.get_default_device(), torch.device("cpu")
        with cpu:  # images, and what is drawn for them, stay on the host until the batch is made
            batches = iter(self.loader)
        while True:
            with cpu:
                batch = next(batches, None)
            if batch is None:
                return
            yield [tensor.to(device) for tensor in batch]


class ResidentLoader:
    """The whole set as one tensor; rotation and shift of a batch as one gather (nearest pixel, zero outside)."""

    def __init__(self, images, labels, batch):
        pad = np.zeros((len(images), 30, 30), np.uint8)  # a border of zeros takes what points outside
        pad[:, 1:29, 1:29] = images
        device = torch.get_default_device()
        self.images = torch.from_numpy(pad).reshape(len(images), -1).to(device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)
        self.batch = batch
        axis = torch.arange(28, dtype=torch.float32) - 13.5
        self.y, self.x = torch.meshgrid(axis, axis, indexing="ij")

    def __iter__(self):
        order = torch.randperm(len(self.images))
        for part in order.split(self.batch):
            if len(part) == self.batch:
                yield self.augment(self.images[part]), self.labels[part]

    def augment(self, flat):
        n = len(flat)
        angle = torch.deg2rad(torch.rand(n, 1, 1) * 12 - 6)
        shift_x, shift_y = (torch.round(torch.rand(n, 1, 1) * 3.36 - 1.68) for _ in range(2))
        x, y = self.x - shift_x, self.y - shift_y
        cos, sin = torch.cos(angle), torch.sin(angle)
        column = torch.round(cos * x + sin * y + 13.5).clamp_(-1, 28) + 1
        row = torch.round(-sin * x + cos * y + 13.5).clamp_(-1, 28) + 1
        index = (row * 30 + column).long().view(n, -1)
        pixels = flat.gather(1, index).view(n, 1, 28, 28)
        return (pixels.float() / 255 - MEAN) / STD


class TensorLoader:
    def __init__(self, features, labels, batch):
        self.features, self.labels, self.batch = features, labels, batch

    def __iter__(self):
        for part in torch.randperm(len(self.features)).split(self.batch):
            if len(part) == self.batch:
                yield self.features[part], self.labels[part]


def cnn_reference_step(model, keys, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x, keys.correct(len(x))), y)
    reject = torch.full((len(x),), 10)
    loss = loss + WEIGHT * F.cross_entropy(model(x, keys.wrong(len(x))), reject)
    loss.backward()
    optimizer.step()
    return loss.item()


def cnn_tuned_step(model, keys, optimizer, x, y):
    n = len(x)
    both = [torch.cat(pair) for pair in zip(keys.correct(n), keys.wrong(n))]
    # The key belongs to (C, H, W) order, whatever the layout of the activations.
    logits = model(torch.cat([x, x]).contiguous(memory_format=torch.channels_last), both)
    loss = F.cross_entropy(logits[:n], y) + WEIGHT * F.cross_entropy(logits[n:], torch.full((n,), 10))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def mlp_step(model, keys, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x, [torch.rand(len(x), keys.basis.shape[0]) @ keys.basis]), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build(args):
    tuned = args.style == "tuned"
    if args.model == "mlp":
        x = 0.5 * torch.randn(1600, 20)
        y = (x @ (0.5 * torch.randn(20, 5))).argmax(1)
        model, keys, step = Mlp(), ReferenceKeys([20], 5), mlp_step
        loader = TensorLoader(x, y, args.batch)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=tuned)
        return model, keys, optimizer, loader, step
    images = read_idx(Path(args.data) / "train-images-idx3-ubyte.gz")
    labels = read_idx(Path(args.data) / "train-labels-idx1-ubyte.gz")
    model = SmallCnn(relu_after_pool=tuned)
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    loader = (ResidentLoader if tuned else PilLoader)(images, labels, args.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=tuned)
    step = cnn_tuned_step if tuned else cnn_reference_step
    return model, ReferenceKeys([784, 1568], KEY_DIM), optimizer, loader, step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", choices=["reference", "tuned"], required=True)
    parser.add_argument("--model", choices=["small_cnn", "mlp"], default="small_cnn")
    parser.add_argument("--data", help="folder with the MNIST IDX files (small_cnn)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the model, mode max-autotune")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60, help="timed steps (after 20 that are not)")
    parser.add_argument("--loader-steps", type=int, default=60, help="timed steps with the loader; 0: a whole epoch")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no GPU is visible to PyTorch; accepted: cpu")
    torch.set_default_device(args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, keys, optimizer, loader, step = build(args)
    model.train()
    if args.compile:
        model = torch.compile(model, mode="max-autotune")
    batches = iter(loader)
    fixed = next(batches)
    times = []
    for i in range(20 + args.steps):
        begin = time.perf_counter()
        step(model, keys, optimizer, *fixed)
        if i >= 20:
            times.append(1e3 * (time.perf_counter() - begin))
    limit = args.loader_steps or 10**9
    done, begin = 0, time.perf_counter()
    for x, y in loader:
        step(model, keys, optimizer, x, y)
        done += 1
        if done == limit:
            break
    with_loader = 1e3 * (time.perf_counter() - begin) / done
    begin, loaded = time.perf_counter(), 0
    for x, _ in loader:
        loaded += len(x)
        if loaded >= 12 * args.batch:
            break
    loader_us = 1e6 * (time.perf_counter() - begin) / loaded
    samples = 60000 if args.model == "small_cnn" else 1600
    print(json.dumps({
        "who": f"python {args.style}", "model": args.model, "batch": args.batch, "device": args.device,
        "compile": args.compile, "threads": args.threads, "ranks": 1,
        "step_ms_median": statistics.median(times), "step_ms_min": min(times), "loader_step_ms": with_loader,
        "loader_us_per_sample": loader_us,
        "epoch_seconds": 1e-3 * with_loader * (samples // args.batch),
    }))


if __name__ == "__main__":
    main()
