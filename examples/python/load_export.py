"""Asks a network that `spankey export` wrote, with torch and safetensors alone.

    python load_export.py model.safetensors

The description in the file says which network it is and where keys enter. The five functions at the end are the five
networks; each calls `key(point, h)` where a key may enter.
"""
import json
import sys

import torch
import torch.nn.functional as F
from safetensors import safe_open


class Exported:
    def __init__(self, path):
        with safe_open(path, "pt") as file:
            self.w = {name: file.get_tensor(name) for name in file.keys()}
            about = file.metadata()
        self.architecture, self.injection, self.normalisation = (
            json.loads(about[name]) for name in ("architecture", "injection", "normalisation"))
        if self.injection["permute"]:
            sys.exit("features that change places (key.permute) are not rebuilt here")

    def prepared(self, pixels):  # (n, C, H, W) uint8 -> float32
        mean, std = (torch.tensor(self.normalisation[name]).view(-1, 1, 1) for name in ("mean", "std"))
        return (pixels.float() / 255 - mean) / std

    @torch.no_grad()
    def logits(self, x, keys=None):  # keys: injection point -> vector; the reject class, if any, comes last
        return getattr(self, self.architecture["network"])(x, lambda point, h: self.inject(h, (keys or {}).get(point)))

    def inject(self, h, k):
        if k is None:
            return h
        k, gamma = k.reshape(h.shape[1:]), self.injection["gamma"]
        if self.injection["inject"] == "add":
            return h + gamma * k
        t = torch.tanh(k)
        return h * {"clamp": (1 + gamma * t).clamp(0.1, 2), "exp": torch.exp(gamma * t),
                    "sym": 1 + min(gamma, 0.9) * t, "sign": torch.tanh(5 * k)}[self.injection["multiplier"]]

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def conv(self, x, name, stride=1):
        weight = self.w[name + ".weight"]
        return F.conv2d(x, weight, self.w.get(name + ".bias"), stride, weight.shape[-1] // 2)

    def batch_norm(self, x, name):
        return F.batch_norm(x, *(self.w[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")))

    def layer_norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)

    def stage(self, x, name, stride, shortcut):  # two residual blocks
        for block, step in ((f"{name}.0", stride), (f"{name}.1", 1)):
            h = F.relu(self.batch_norm(self.conv(x, block + ".conv1", step), block + ".bn1"))
            h = self.batch_norm(self.conv(h, block + ".conv2"), block + ".bn2")
            if f"{block}.{shortcut}.0.weight" in self.w:
                x = self.batch_norm(self.conv(x, f"{block}.{shortcut}.0", step), f"{block}.{shortcut}.1")
            x = F.relu(h + x)
        return x

    def mlp(self, x, key):
        h = self.linear(key(0, x), "net.0")
        h = self.linear(F.relu(key(1, h)), "net.2")
        return self.linear(F.relu(key(2, h)), "net.4")

    def small_cnn(self, x, key):
        h = key(1, F.max_pool2d(F.relu(self.conv(key(0, x), "conv1")), 2))
        h = key(2, F.max_pool2d(F.relu(self.conv(h, "conv2")), 2))
        return self.linear(h.flatten(1), "fc")

    def small_resnet(self, x, key):
        h = key(1, F.relu(self.batch_norm(self.conv(key(0, x), "stem.0"), "stem.1")))
        h = key(2, self.stage(self.stage(h, "layer1", 1, "down"), "layer2", 2, "down"))
        return self.linear(key(3, self.stage(h, "layer3", 2, "down")).mean((2, 3)), "head")

    def resnet18(self, x, key):
        h = self.stage(key(1, F.relu(self.batch_norm(self.conv(key(0, x), "conv1"), "bn1"))), "layer1", 1, "downsample")
        for point in (2, 3, 4):
            h = key(point, self.stage(h, f"layer{point}", 2, "downsample"))
        return self.linear(h.mean((2, 3)), "fc")

    def vit_tiny(self, x, key):
        patches = F.conv2d(x, self.w["patch_embed.proj.weight"], self.w["patch_embed.proj.bias"], 4).flatten(2).mT
        h = key(0, torch.cat((self.w["cls_token"].expand(len(x), -1, -1), patches), 1) + self.w["pos_embed"])
        for i in range(12):
            block = f"blocks.{i}"
            q, k, v = self.linear(self.layer_norm(h, block + ".norm1"), block + ".attn.qkv").unflatten(
                2, (3, 3, -1)).permute(2, 0, 3, 1, 4)
            h = h + self.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), block + ".attn.proj")
            hidden = F.gelu(self.linear(self.layer_norm(h, block + ".norm2"), block + ".mlp.fc1"))
            h = h + self.linear(hidden, block + ".mlp.fc2")
            h = key(1, h) if i == 5 else h
        return self.linear(self.layer_norm(h[:, 0], "norm"), "head")


if __name__ == "__main__":
    network = Exported(sys.argv[1])
    print(network.architecture, network.injection)
    print(network.logits(torch.zeros(1, *network.architecture["sample_shape"])))
