#!/usr/bin/env python3
"""The training step of SpanKey in plain PyTorch, as a yardstick for bench/train_step.

--style reference   the way the reference implementation trains: PIL transforms image by image, keys through a matrix
                    product and a std read back to Python, two forward passes, default layouts and optimiser
--style tuned       the best plain PyTorch way we know: data resident, augmentation of the whole batch at once,
                    channels_last, fused optimiser, nothing read back; SmallCNN: correct and wrong key as one batch,
                    ReLU after the pooling. ResNet-18 keeps two passes, each with BatchNorm statistics of its own

ResNet-18 is example 04 (layers 0, 2, 3, 4, deny mode cplus) on random images of CIFAR-10's shape: times do not depend
on what is in an image. --compile: torch.compile, mode max-autotune, of keys, network and loss.

Prints one JSON line: milliseconds of a step without the loader (median, minimum), with it, and seconds of an epoch.
"""
import argparse
import contextlib
import gzip
import itertools
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
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CNN_GAMMA, RESNET_GAMMA = 0.5, 2.0
WEIGHT, MARGIN, MARGIN2 = 0.1, 1.0, 0.5  # of the deny losses
SAMPLES = {"small_cnn": 60000, "resnet18": 50000, "mlp": 1600}


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
        if self.relu_after_pool:  # the same values, because the maximum commutes with ReLU
            return F.relu(F.max_pool2d(conv(x), 2))
        return F.max_pool2d(F.relu(conv(x)), 2)

    def forward(self, x, keys):
        x = multiply(x, keys[0], CNN_GAMMA)
        x = self.stage(self.stage(x, self.conv1), self.conv2)
        return self.fc(multiply(x, keys[1], CNN_GAMMA).flatten(1))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for 32x32: a first convolution of 3x3 and no pooling; keys at the input and after stages 2, 3 and 4."""

    WIDTHS = [3072, 128 * 16 * 16, 256 * 8 * 8, 512 * 4 * 4]

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.stages = nn.ModuleList(nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))
                                    for inputs, outputs, stride in stages)
        self.fc = nn.Linear(512, 10)

    def forward(self, x, keys):
        h = F.relu(self.bn1(self.conv1(multiply(x, keys[0], RESNET_GAMMA))))
        h = self.stages[0](h)
        for stage, key in zip(list(self.stages)[1:], keys[1:]):
            h = multiply(stage(h), key, RESNET_GAMMA)
        return self.fc(h.mean((2, 3)))


class Mlp(nn.Module):
    """20-64-32-5 with ReLU; key at the input."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x, keys):
        return self.layers(x + 1.0 * keys[0])


def multiply(h, key, gamma):
    factor = torch.clamp(1 + gamma * torch.tanh(key), 0.1, 2.0)
    return h * factor.view(-1, *h.shape[1:])


class ReferenceKeys:
    """One alpha a sample. Both layers see prefixes of one vector. The std is read back to Python."""

    def __init__(self, widths, rows, target_std, read_back=True):
        self.widths, self.target_std, self.read_back = widths, target_std, read_back
        self.basis = (torch.rand(rows, max(widths)) * 2 - 1) / rows**0.5

    def rescale(self, key):
        std = key.std().item() if self.read_back else key.std()
        return key * (self.target_std / (std + 1e-8))

    def correct(self, n):
        key = self.rescale(torch.rand(n, self.basis.shape[0]) @ self.basis)
        return [key[:, :width] for width in self.widths]

    def wrong(self, n):
        key = self.rescale(torch.randn(1, max(self.widths)).expand(n, -1))
        return [key[:, :width] for width in self.widths]


class KeysOfLayers:
    """Each layer has a basis, an alpha and a scale of its own."""

    def __init__(self, widths, rows, *more):
        self.layers = [ReferenceKeys([width], rows, *more) for width in widths]

    def correct(self, n):
        return [layer.correct(n)[0] for layer in self.layers]

    def wrong(self, n):
        return [layer.wrong(n)[0] for layer in self.layers]


class PilLoader:
    """torchvision transforms on PIL images, one at a time, in the training process."""

    def __init__(self, images, labels, batch):
        from PIL import Image
        from torchvision import transforms

        colour = images.ndim == 4
        augment = ([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if colour else
                   [transforms.RandomAffine(6, translate=(0.06, 0.06))])
        normalize = transforms.Normalize(CIFAR_MEAN, CIFAR_STD) if colour else transforms.Normalize((MEAN,), (STD,))
        transform = transforms.Compose([*augment, transforms.ToTensor(), normalize])

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
    """The whole set as one tensor. One gather rotates and shifts a batch (nearest pixel, zero outside)."""

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


class ResidentCropLoader(ResidentLoader):
    """The same for images in colour, with a crop out of a border of 4 zeros, and mirroring."""

    def __init__(self, images, labels, batch):
        device = torch.get_default_device()
        self.images = torch.from_numpy(np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))).to(device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)
        self.batch = batch
        self.axis = torch.arange(32)
        self.scale = 1 / (255 * torch.tensor(CIFAR_STD))
        self.shift = torch.tensor(CIFAR_MEAN) / torch.tensor(CIFAR_STD)

    def __iter__(self):
        order = torch.randperm(len(self.images))
        for part in order.split(self.batch):
            if len(part) == self.batch:
                yield self.crop(part), self.labels[part]

    def crop(self, part):
        n = len(part)
        row = torch.randint(9, (n, 1)) + self.axis
        column = torch.randint(9, (n, 1)) + torch.where(torch.rand(n, 1) < 0.5, self.axis, 31 - self.axis)
        pixels = self.images[part[:, None, None], row[:, :, None], column[:, None, :]]
        return (pixels * self.scale - self.shift).permute(0, 3, 1, 2)  # channels_last as it lies


class TensorLoader:
    def __init__(self, features, labels, batch):
        self.features, self.labels, self.batch = features, labels, batch

    def __iter__(self):
        for part in torch.randperm(len(self.features)).split(self.batch):
            if len(part) == self.batch:
                yield self.features[part], self.labels[part]


def cnn_reference_loss(model, keys, x, y):
    loss = F.cross_entropy(model(x, keys.correct(len(x))), y)
    reject = torch.full((len(x),), 10)
    return loss + WEIGHT * F.cross_entropy(model(x, keys.wrong(len(x))), reject)


def cnn_tuned_loss(model, keys, x, y):
    n = len(x)
    both = [torch.cat(pair) for pair in zip(keys.correct(n), keys.wrong(n))]
    # The key belongs to (C, H, W) order, whatever the layout of the activations.
    logits = model(torch.cat([x, x]).contiguous(memory_format=torch.channels_last), both)
    return F.cross_entropy(logits[:n], y) + WEIGHT * F.cross_entropy(logits[n:], torch.full((n,), 10))


def resnet_loss(model, keys, x, y):
    """Mode cplus wants the true class lower than with the correct key by a margin, and some other class above it."""
    n, column = len(x), y.unsqueeze(1)
    correct = model(x, keys.correct(n))
    wrong = model(x, keys.wrong(n))
    of_wrong = wrong.gather(1, column)
    other = wrong.scatter(1, column, float("-inf")).amax(1, keepdim=True)
    deny = F.relu(MARGIN - (correct.gather(1, column) - of_wrong)) + F.relu(MARGIN2 + of_wrong - other)
    return F.cross_entropy(correct, y) + WEIGHT * deny.mean()


def mlp_loss(model, keys, x, y):
    return F.cross_entropy(model(x, [torch.rand(len(x), keys.basis.shape[0]) @ keys.basis]), y)


class Trainer:
    """A step is a call with a batch. With `read_back` the loss comes to Python in every step."""

    def __init__(self, model, keys, optimizer, loss, args):
        self.model, self.keys, self.optimizer = model, keys, optimizer
        self.loss = torch.compile(loss, mode="max-autotune") if args.compile else loss
        self.read_back = args.style == "reference"
        self.precision = (torch.autocast(args.device, torch.bfloat16) if args.precision == "bf16" else
                          contextlib.nullcontext())

    def __call__(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision:
            loss = self.loss(self.model, self.keys, x, y)
        loss.backward()
        self.optimizer.step()
        if self.read_back:
            loss.item()


def data_of(args):
    if args.model == "resnet18":
        draw = np.random.default_rng(0)
        return (draw.integers(0, 256, (SAMPLES["resnet18"], 32, 32, 3), np.uint8),
                draw.integers(0, 10, SAMPLES["resnet18"], np.uint8))
    return (read_idx(Path(args.data) / "train-images-idx3-ubyte.gz"),
            read_idx(Path(args.data) / "train-labels-idx1-ubyte.gz"))


def build(args):
    """Returns the function that makes steps, and the one that makes batches."""
    tuned = args.style == "tuned"
    if args.model == "mlp":
        x = 0.5 * torch.randn(SAMPLES["mlp"], 20)
        y = (x @ (0.5 * torch.randn(20, 5))).argmax(1)
        model, keys = Mlp(), ReferenceKeys([20], 5, None)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=tuned)
        return Trainer(model, keys, optimizer, mlp_loss, args), TensorLoader(x, y, args.batch)
    model = SmallCnn(relu_after_pool=tuned) if args.model == "small_cnn" else ResNet18()
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    if args.model == "small_cnn":
        keys, resident = ReferenceKeys([784, 1568], 8, 0.5, not tuned), ResidentLoader
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=tuned)
        loss = cnn_tuned_loss if tuned else cnn_reference_loss
    else:
        keys, resident, loss = KeysOfLayers(ResNet18.WIDTHS, 32, 1.0, not tuned), ResidentCropLoader, resnet_loss
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4,
                                    fused=tuned)
    loader = (resident if tuned else PilLoader)(*data_of(args), args.batch)
    return Trainer(model, keys, optimizer, loss, args), loader


def wait(args):
    if args.device == "cuda":
        torch.cuda.synchronize()


def step_times(step, batch, args):
    """Returns milliseconds of each step. On a GPU it waits for every tenth step only."""
    times, block = [], 10 if args.device == "cuda" else 1
    for _ in range(0, args.steps, block):
        begin = time.perf_counter()
        for _ in range(block):
            step(*batch)
        wait(args)
        times += [1e3 * (time.perf_counter() - begin) / block] * block
    return times


def loader_step_time(step, loader, args):
    """Returns milliseconds of a step with its batch made for it."""
    batches = itertools.chain.from_iterable(itertools.repeat(loader))  # epoch after epoch
    steps = args.loader_steps or SAMPLES[args.model] // args.batch
    for x, y in itertools.islice(batches, min(20, steps)):
        step(x, y)
    wait(args)
    begin = time.perf_counter()
    for x, y in itertools.islice(batches, steps):
        step(x, y)
    wait(args)
    return 1e3 * (time.perf_counter() - begin) / steps


def loader_time(loader, args):
    """Returns microseconds of a sample, without a step."""
    begin, loaded = time.perf_counter(), 0
    for x, _ in loader:
        loaded += len(x)
        if loaded >= 12 * args.batch:
            break
    wait(args)
    return 1e6 * (time.perf_counter() - begin) / loaded


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", choices=["reference", "tuned"], required=True)
    parser.add_argument("--model", choices=["small_cnn", "resnet18", "mlp"], default="small_cnn")
    parser.add_argument("--data", help="folder with the MNIST IDX files (small_cnn)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile, mode max-autotune")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32", help="bf16: autocast")
    parser.add_argument("--tf32", action="store_true", help="factors of 10 bits in float32, which spankey never takes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60, help="timed steps (after 20 that are not)")
    parser.add_argument("--loader-steps", type=int, default=60,
                        help="timed steps with the loader (after at most 20 that are not); 0: as many as an epoch has")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no GPU is visible to PyTorch; accepted: cpu")
    torch.set_default_device(args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    # PyTorch's own default is on for convolutions and off for products. spankey has it off for both.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.tf32
    torch.backends.cudnn.benchmark = args.style == "tuned"
    step, loader = build(args)
    step.model.train()
    fixed = next(iter(loader))
    for _ in range(20):
        step(*fixed)
    wait(args)
    times = step_times(step, fixed, args)
    with_loader = loader_step_time(step, loader, args)
    loader_us = loader_time(loader, args)
    print(json.dumps({
        "who": f"python {args.style}", "model": args.model, "batch": args.batch, "device": args.device,
        "precision": args.precision, "tf32": args.tf32, "compile": args.compile, "threads": args.threads, "ranks": 1,
        "step_ms_median": statistics.median(times), "step_ms_min": min(times), "loader_step_ms": with_loader,
        "loader_us_per_sample": loader_us,
        "epoch_seconds": 1e-3 * with_loader * (SAMPLES[args.model] // args.batch),
    }))


if __name__ == "__main__":
    main()
