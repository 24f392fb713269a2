// Alpha of raw RGB frames: matte MODEL WIDTH HEIGHT RATIO < frames.rgb > alpha.gray
// The model is an ONNX file, or the model.xml of an IR.
// The file takes any size and has float32 inputs and outputs.

#include <openvino/openvino.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: matte MODEL WIDTH HEIGHT RATIO\n");
    return 2;
  }
  const size_t width = std::stoul(argv[2]), height = std::stoul(argv[3]), size = width * height;

  ov::Core core;
  auto model = core.compile_model(argv[1], "CPU", ov::hint::inference_precision(ov::element::f32));
  auto request = model.create_infer_request();
  ov::Tensor src(ov::element::f32, {1, 3, height, width}), ratio(ov::element::f32, {1});
  ratio.data<float>()[0] = std::stof(argv[4]);
  request.set_tensor("src", src);
  request.set_tensor("downsample_ratio", ratio);
  for (int k = 1; k <= 4; ++k) {
    ov::Tensor zero(ov::element::f32, {1, 1, 1, 1});  // the state before the first frame
    zero.data<float>()[0] = 0;
    request.set_tensor("r" + std::to_string(k) + "i", zero);
  }

  std::vector<uint8_t> pixels(3 * size), alpha(size);
  while (std::fread(pixels.data(), 1, pixels.size(), stdin) == pixels.size()) {
    for (size_t pixel = 0; pixel < size; ++pixel) {
      for (size_t channel = 0; channel < 3; ++channel) {
        src.data<float>()[channel * size + pixel] = pixels[3 * pixel + channel] / 255.0f;
      }
    }
    request.infer();
    const float* pha = request.get_tensor("pha").data<float>();
    for (size_t pixel = 0; pixel < size; ++pixel) {
      alpha[pixel] = static_cast<uint8_t>(std::lround(255 * pha[pixel]));
    }
    std::fwrite(alpha.data(), 1, alpha.size(), stdout);
    for (int k = 1; k <= 4; ++k) {
      const auto after = request.get_tensor("r" + std::to_string(k) + "o");
      ov::Tensor state(after.get_element_type(), after.get_shape());  // the next frame overwrites the output
      after.copy_to(state);
      request.set_tensor("r" + std::to_string(k) + "i", state);
    }
  }
}
