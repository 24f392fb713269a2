// Alpha of raw RGB frames: matte MODEL.onnx WIDTH HEIGHT RATIO < frames.rgb > alpha.gray
// The file takes any size and has float32 inputs and outputs.

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: matte MODEL.onnx WIDTH HEIGHT RATIO\n");
    return 2;
  }
  const int64_t width = std::atoll(argv[2]), height = std::atoll(argv[3]), size = width * height;
  float ratio = std::strtof(argv[4], nullptr);

  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "matte");
  Ort::SessionOptions options;
  options.DisableMemPattern();  // a 4K frame takes less memory
  Ort::Session session(env, argv[1], options);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);

  const std::array<const char*, 6> inputs{"src", "r1i", "r2i", "r3i", "r4i", "downsample_ratio"};
  const std::array<const char*, 5> outputs{"pha", "r1o", "r2o", "r3o", "r4o"};
  std::vector<uint8_t> pixels(3 * size), alpha(size);
  std::vector<float> src(3 * size);
  float zero = 0;  // the states before the first frame
  const std::array<int64_t, 4> one{1, 1, 1, 1}, frame{1, 3, height, width};
  const std::array<int64_t, 1> scalar{1};
  std::vector<Ort::Value> states;
  for (int k = 0; k < 4; ++k) {
    states.push_back(Ort::Value::CreateTensor<float>(memory, &zero, 1, one.data(), one.size()));
  }

  while (std::fread(pixels.data(), 1, pixels.size(), stdin) == pixels.size()) {
    for (int64_t pixel = 0; pixel < size; ++pixel) {
      for (int channel = 0; channel < 3; ++channel) {
        src[channel * size + pixel] = pixels[3 * pixel + channel] / 255.0f;
      }
    }
    std::vector<Ort::Value> given;
    given.push_back(Ort::Value::CreateTensor<float>(memory, src.data(), src.size(), frame.data(), frame.size()));
    for (auto& state : states) given.push_back(std::move(state));
    given.push_back(Ort::Value::CreateTensor<float>(memory, &ratio, 1, scalar.data(), scalar.size()));

    auto results = session.Run(Ort::RunOptions{nullptr}, inputs.data(), given.data(), given.size(), outputs.data(),
                               outputs.size());
    const float* pha = results[0].GetTensorData<float>();
    for (int64_t pixel = 0; pixel < size; ++pixel) {
      alpha[pixel] = static_cast<uint8_t>(std::lround(255 * pha[pixel]));
    }
    std::fwrite(alpha.data(), 1, alpha.size(), stdout);
    for (int k = 0; k < 4; ++k) states[k] = std::move(results[k + 1]);
  }
}
