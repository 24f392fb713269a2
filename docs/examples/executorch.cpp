// Mattes raw RGB frames with an ExecuTorch program of one size, and writes their alpha.
//
//     executorch MODEL.pte < frames.rgb > alpha.gray
//
// A program of precision fp16 takes and gives half floats instead of floats.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

using executorch::extension::from_blob;
using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::EValue;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: executorch MODEL.pte < frames.rgb > alpha.gray\n");
    return 2;
  }
  Module module(argv[1]);
  auto meta = module.method_meta("forward");
  if (!meta.ok() || meta->num_inputs() != 5) {
    std::fprintf(stderr, "%s is no matting network\n", argv[1]);
    return 2;
  }
  // src and r1i to r4i, in the order of the inputs. The states begin as zeros.
  std::vector<std::vector<executorch::aten::SizesType>> shapes;
  std::vector<std::vector<float>> inputs;
  for (size_t k = 0; k < 5; ++k) {
    auto sizes = meta->input_tensor_meta(k)->sizes();
    shapes.emplace_back(sizes.begin(), sizes.end());
    size_t count = 1;
    for (auto side : shapes.back()) count *= side;
    inputs.emplace_back(count, 0.0f);
  }
  std::vector<TensorPtr> tensors;  // they point into inputs, and must outlive the calls
  std::vector<EValue> values;
  for (size_t k = 0; k < 5; ++k) {
    tensors.push_back(from_blob(inputs[k].data(), shapes[k]));
    values.emplace_back(*tensors[k]);
  }
  const size_t pixels = inputs[0].size() / 3;
  std::vector<uint8_t> frame(3 * pixels), alpha(pixels);
  while (std::fread(frame.data(), 1, frame.size(), stdin) == frame.size()) {
    for (size_t i = 0; i < pixels; ++i)  // RGB side by side become three planes in [0, 1]
      for (size_t c = 0; c < 3; ++c) inputs[0][c * pixels + i] = frame[3 * i + c] / 255.0f;
    auto outputs = module.forward(values);  // fgr, pha, r1o, r2o, r3o, r4o
    if (!outputs.ok()) {
      std::fprintf(stderr, "%s does not run: error %d\n", argv[1], int(outputs.error()));
      return 1;
    }
    const float* pha = outputs->at(1).toTensor().const_data_ptr<float>();
    for (size_t i = 0; i < pixels; ++i) alpha[i] = uint8_t(std::lround(pha[i] * 255));
    std::fwrite(alpha.data(), 1, alpha.size(), stdout);
    // The module overwrites its outputs in the next call: copy the states.
    for (size_t k = 1; k < 5; ++k) {
      auto after = outputs->at(k + 1).toTensor();
      std::memcpy(inputs[k].data(), after.const_data_ptr<float>(), after.nbytes());
    }
  }
  return 0;
}
