// injection.h5: outputs and gradients of both injections against the reference implementation.
#include "spankey/keys/injection.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden/golden.h"
#include "spankey/ops/inject_op.h"

namespace spankey::injection_test {
namespace {

struct Result {
  at::Tensor out, dh, dk;
};

Result run(const h5::File& file, const std::string& shape, InjectionKind kind, at::ScalarType type,
           at::MemoryFormat format) {
  at::Tensor h = golden::tensor(file, shape + "/h_f32").to(type).contiguous(format).requires_grad_();
  const at::Tensor k = golden::tensor(file, shape + "/k_f32").to(type);
  at::Tensor key = k.reshape({k.size(0), -1}).contiguous().requires_grad_();
  const at::Tensor out = Injection::of_keys({3}, {key}, kind).apply(3, h);
  (out * golden::tensor(file, shape + "/upstream_f32").to(type)).sum().backward();
  return {out.detach(), h.grad(), key.grad().reshape(k.sizes())};
}

void check_case(const h5::File& file, const std::string& shape, const std::string& name) {
  const std::string group = shape + "/" + name;
  golden::expect_known(file, group, {"gamma", "inject", "n_clamped_high", "n_clamped_low"},
                       {"out", "dh", "dk", "out_f32"});
  const std::string inject = file.string_attribute(group, "inject");
  ASSERT_TRUE(inject == "add" || inject == "mul") << inject;
  const InjectionKind kind{inject == "mul" ? Inject::mul : Inject::add, file.double_attribute(group, "gamma")};
  const std::int64_t dims = golden::tensor(file, shape + "/h_f32").dim();
  for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    if (format == at::MemoryFormat::ChannelsLast && dims != 4) continue;
    for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-13}, std::pair{at::kFloat, 1e-6}}) {
      const Result result = run(file, shape, kind, type, format);
      golden::expect_close(result.out, golden::tensor(file, group + "/out"), tolerance, group + " out");
      golden::expect_close(result.dh, golden::tensor(file, group + "/dh"), tolerance, group + " dh");
      golden::expect_close(result.dk, golden::tensor(file, group + "/dk"), tolerance, group + " dk");
      if (type == at::kFloat && file.exists(group + "/out_f32"))
        golden::expect_close(result.out, golden::tensor(file, group + "/out_f32"), tolerance, group + " out_f32");
    }
  }
  if (!file.has_attribute(group, "n_clamped_low")) return;
  const at::Tensor s = 1 + kind.gamma * golden::widened(file, shape + "/k_f32").tanh();
  EXPECT_EQ(s.lt(multiplier_low).sum().item<std::int64_t>(), file.int_attribute(group, "n_clamped_low"));
  EXPECT_EQ(s.gt(multiplier_high).sum().item<std::int64_t>(), file.int_attribute(group, "n_clamped_high"));
}

TEST(Golden, InjectionMatchesTheReference) {
  const h5::File file = golden::open("injection.h5");
  golden::Tally tally("injection.h5");
  golden::expect_known(file, "/", {}, {}, {"h*_rows", "h*_shared"});
  for (const std::string& shape : file.groups("/")) {
    golden::expect_known(file, "/" + shape, {}, {"h_f32", "k_f32", "upstream_f32"}, {"add_*", "mul_*"});
    for (const std::string& name : file.groups("/" + shape)) {
      SCOPED_TRACE(shape + "/" + name);
      check_case(file, "/" + shape, name);
      tally.run();
    }
  }
}

}  // namespace
}  // namespace spankey::injection_test
