// Calls the host code of torch's CUDA kernels with tensors on the CPU. What it refuses before the first kernel is
// launched, it refuses on a GPU; without a GPU, launching fails with an error that speaks of CUDA.
#include <ATen/core/Tensor.h>
#include <ATen/ops/native_batch_norm_backward_native.h>
#include <ATen/ops/native_layer_norm_backward_native.h>
#include <ATen/ops/ones.h>

#include <iostream>
#include <string>

template <class Call>
void attempt(const std::string& name, Call call) {
  std::string said = "returned";
  try {
    call();
  } catch (const std::exception& error) {
    said = error.what();
    said = said.substr(0, said.find('\n'));
  }
  std::cout << name << ": " << said << std::endl;
}

int main() {
  using at::native::batch_norm_backward_cuda;
  using at::native::layer_norm_backward_cuda;
  const std::optional<at::Tensor> none;
  const auto format = at::MemoryFormat::ChannelsLast;
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const auto& shape : {std::vector<int64_t>{4, 3}, {4, 3, 5}, {4, 3, 5, 5}, {2, 3, 2, 5, 5}}) {
      const auto plain = at::ones(shape, type);
      const auto vector = at::ones({3}, type);
      for (const bool last : {false, true}) {
        if (last && shape.size() != 4) continue;
        const auto x = last ? plain.contiguous(format) : plain;
        const std::string kind = std::to_string(shape.size()) + (last ? "d last " : "d ") + (type == at::kFloat ? "float" : "double");
        const auto norm = [&](const std::string& what, const std::optional<at::Tensor>& weight, std::array<bool, 3> mask) {
          attempt("batch_norm " + what + " " + kind, [&] {
            batch_norm_backward_cuda(x, x, weight, none, none, vector, vector, true, 0.0, mask);
          });
        };
        if (shape.size() > 2 && !last) {  // there, the rest is computed by other kernels, whose checks come later
          norm("refused", none, {false, true, true});
          norm("refused", none, {true, true, true});
        }
        norm("taken", vector, {true, true, true});
        norm("taken", vector, {true, true, false});
        norm("taken", vector, {false, true, true});
        norm("taken", vector, {false, true, false});
        norm("taken", vector, {true, false, false});
      }
    }
    const auto x = at::ones({4, 6}, type), turned = at::ones({6, 4}, type).t(), vector = at::ones({6}, type);
    const auto rows = at::ones({4, 1}, type);
    const auto layer = [&](const std::string& what, const at::Tensor& g, const std::optional<at::Tensor>& weight,
                           const std::optional<at::Tensor>& bias, std::array<bool, 3> mask) {
      attempt("layer_norm " + what, [&] { layer_norm_backward_cuda(g, x, {6}, rows, rows, weight, bias, mask); });
    };
    layer("refused", x, none, none, {true, true, false});
    layer("refused", x, none, none, {true, false, true});
    for (const auto& g : {x, turned, x.sum().expand({4, 6})}) {
      layer("taken", g, vector, vector, {true, true, true});
      layer("taken", g, vector, none, {true, true, false});
      layer("taken", g, none, vector, {true, false, true});
      layer("taken", g, none, none, {true, false, false});
      layer("taken", g, vector, none, {true, false, false});
    }
  }
  return 0;
}
