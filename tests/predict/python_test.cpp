// The example for Python gives the logits of each network, with a key and without one.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "keyring/model_file.h"
#include "keyring/safetensors.h"
#include "spankey/models/registry.h"
#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::test::python_test {
namespace {

constexpr const char* compare = R"(
import sys
sys.path.insert(0, sys.argv[1])
from load_export import Exported
from safetensors.torch import load_file
network, case = Exported("model.safetensors"), load_file("case.safetensors")
damaged = sys.argv[2:]  # names of weights that are made 1 % larger
for name in damaged:
    network.w[name] = network.w[name] * 1.01
keys = {int(name[4:]): value for name, value in case.items() if name.startswith("key.")}
assert keys
for expected, given in ((case["keyed"], keys), (case["none"], None)):
    difference = (network.logits(case["x"], given) - expected).abs().max().item()
    print(network.architecture["network"], difference)
    assert difference <= 1e-5, difference
assert (case["keyed"] - case["none"]).abs().max().item() > 1e-3
)";

struct Case {
  const char* toml;
  SampleFacts samples;
};

const SampleFacts grey{{1, 28, 28}, {"a", "b", "c"}, {0.5F}, {0.25F}};
const SampleFacts colour{{3, 32, 32}, {"a", "b", "c"}, {0.5F, 0.4F, 0.3F}, {0.25F, 0.2F, 0.3F}};
const SampleFacts numbers{{20}, {"a", "b"}, {0.0F}, {1.0F}};

// Running statistics of a network that has seen data.
void make_statistics_differ(const Model& model) {
  const at::NoGradGuard no_grad;
  for (auto& [name, buffer] : named_buffers(model)) {
    const auto wave = at::sin(at::arange(buffer.numel(), at::kFloat)).view(buffer.sizes());
    buffer.copy_(name.find("var") == std::string::npos ? wave * 0.1 : 1.0 + wave * 0.3);
  }
}

void write_case(const Case& one, const TemporaryFolder& folder) {
  const auto config = parse_config(one.toml, "test");
  auto model = make_model(config.model.name, {.sample_shape = one.samples.shape,
                                              .classes = std::ssize(one.samples.class_names),
                                              .reject_class = config.deny.mode == "B"});
  initialise(*model, 11);
  make_statistics_differ(*model);
  model->eval();
  const at::NoGradGuard no_grad;
  const auto description = describe_network(config, one.samples, *model);
  std::vector<std::int64_t> shape{2};
  shape.insert(shape.end(), one.samples.shape.begin(), one.samples.shape.end());
  Safetensors content;
  const auto elements = 2 * description.sample_size();
  const auto x = at::sin(at::arange(elements, at::kFloat) * 0.7).view(shape);
  std::vector<std::int64_t> points;
  std::vector<at::Tensor> keys;
  for (const auto& site : description.sites) {
    points.push_back(site.point);
    keys.push_back(at::cos(at::arange(site.width, at::kFloat) * 1.3).unsqueeze(0));
    content.tensors.push_back({"key." + std::to_string(site.point), keys.back()[0].clone()});
  }
  content.tensors.push_back({"x", x});
  content.tensors.push_back({"none", model->forward(x, Injection::none()).logits});
  content.tensors.push_back({"keyed", model->forward(x, Injection::of_keys(points, keys, description.kind)).logits});
  write_durably(folder / "model.safetensors", write_safetensors(description, *model));
  write_durably(folder / "case.safetensors", encode_safetensors(content));
}

TEST(LoadExport, GivesTheSameLogits) {
  const auto python = source(".venv-bench/bin/python");
  TemporaryFolder folder;
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv-bench (launch/setup --bench makes it)";
  if (run({python.string(), "-c", "import torch, safetensors"}, folder.path()).exit_code != 0)
    GTEST_SKIP() << ".venv-bench has no safetensors (launch/setup --bench installs it)";
  for (const Case& one :
       {Case{"[model]\nname='mlp'\n[data]\nfile='builtin:argmax'\n[key]\nlayers=[0,1,2]\ninject='add'\n", numbers},
        Case{"[deny]\nmode='B'\n[key]\nlayers=[0,1,2]\n", grey},
        Case{"[model]\nname='small_resnet'\n[key]\nlayers=[0,1,2,3]\nmultiplier='exp'\n", grey},
        Case{"[model]\nname='resnet18'\n[key]\nlayers=[0,1,2,3,4]\nmultiplier='sym'\ngamma=2\n", colour},
        Case{"[model]\nname='vit_tiny'\n[key]\nlayers=[0,1]\n", colour}}) {
    write_case(one, folder);
    const auto outcome = run({python.string(), "-c", compare, source("examples/python").string()}, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << one.toml << outcome.out << outcome.err;
  }
  // Control: weights that are a little different are seen.
  const auto damaged = run(
      {python.string(), "-c", compare, source("examples/python").string(), "patch_embed.proj.weight"}, folder.path());
  EXPECT_NE(damaged.exit_code, 0) << damaged.out;
  EXPECT_NE(damaged.err.find("AssertionError"), std::string::npos) << damaged.err;
}

}  // namespace
}  // namespace spankey::test::python_test
