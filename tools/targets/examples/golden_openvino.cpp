// Plays the frames of golden.npz, and compares with PyTorch's outputs: golden MODEL.onnx golden.npz VARIANT SIZE LIMIT
// Prints the largest errors of fgr and pha, and exits with 1 if one is not within LIMIT.
// The file takes any size and has float32 inputs and outputs. The machine is little-endian.

#include <openvino/openvino.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Array {
  std::vector<size_t> shape;
  std::string bytes;
  template <typename T> const T* data() const { return reinterpret_cast<const T*>(bytes.data()); }
};

// The arrays of a .npz file by name. They must be stored, not packed, as those of golden.npz are.
std::map<std::string, Array> read_npz(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string zip{std::istreambuf_iterator<char>(file), {}};
  auto number = [&](size_t at, int bytes) {
    size_t value = 0;
    for (int k = bytes - 1; k >= 0; --k) value = value << 8 | static_cast<uint8_t>(zip.at(at + k));
    return value;
  };
  if (zip.size() < 22) throw std::runtime_error(std::string("cannot read ") + path);
  const size_t end = zip.size() - 22;  // the record at the end of a zip file that has no comment
  std::map<std::string, Array> arrays;
  size_t entry = number(end + 16, 4);
  for (size_t left = number(end + 10, 2); left > 0; --left) {
    const size_t length = number(entry + 28, 2), local = number(entry + 42, 4);
    const size_t npy = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    const size_t start = npy + 10 + number(npy + 8, 2), stop = npy + number(entry + 24, 4);
    const std::string header = zip.substr(npy + 10, start - npy - 10);
    Array array{{}, zip.substr(start, stop - start)};
    for (size_t at = header.find("'shape': (") + 10; header.at(at) != ')';) {
      if (!std::isdigit(header[at])) {
        ++at;
        continue;
      }
      size_t digits = 0;
      array.shape.push_back(std::stoul(header.substr(at), &digits));
      at += digits;
    }
    arrays[zip.substr(entry + 46, length - 4)] = array;  // without .npy
    entry += 46 + length + number(entry + 30, 2) + number(entry + 32, 2);
  }
  return arrays;
}

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: golden MODEL.onnx golden.npz VARIANT SIZE LIMIT\n");
    return 2;
  }
  const auto arrays = read_npz(argv[2]);
  const std::string size = argv[4], expected = std::string(argv[3]) + "/" + size + "/";
  const float limit = std::stof(argv[5]);
  const Array& frames = arrays.at(size + "/src");
  const size_t count = frames.shape[0], height = frames.shape[1], width = frames.shape[2], pixels = height * width;

  ov::Core core;
  auto model = core.compile_model(argv[1], "CPU", ov::hint::inference_precision(ov::element::f32));
  auto request = model.create_infer_request();
  ov::Tensor src(ov::element::f32, {1, 3, height, width}), ratio(ov::element::f32, {1});
  ratio.data<float>()[0] = arrays.at(size + "/downsample_ratio").data<float>()[0];
  request.set_tensor("src", src);
  request.set_tensor("downsample_ratio", ratio);
  for (int k = 1; k <= 4; ++k) {
    ov::Tensor zero(ov::element::f32, {1, 1, 1, 1});  // the state before the first frame
    zero.data<float>()[0] = 0;
    request.set_tensor("r" + std::to_string(k) + "i", zero);
  }

  std::map<std::string, float> errors{{"fgr", 0}, {"pha", 0}};
  for (size_t t = 0; t < count; ++t) {
    const uint8_t* rgb = frames.data<uint8_t>() + 3 * pixels * t;
    for (size_t pixel = 0; pixel < pixels; ++pixel) {
      for (size_t channel = 0; channel < 3; ++channel) {
        src.data<float>()[channel * pixels + pixel] = rgb[3 * pixel + channel] / 255.0f;
      }
    }
    request.infer();
    for (auto& [name, error] : errors) {
      const auto output = request.get_tensor(name);
      const float* values = output.data<float>();
      const float* truth = arrays.at(expected + name).data<float>() + output.get_size() * t;
      for (size_t k = 0; k < output.get_size(); ++k) {
        const float difference = std::abs(values[k] - truth[k]);
        error = std::isnan(difference) ? INFINITY : std::max(error, difference);
      }
    }
    for (int k = 1; k <= 4; ++k) {
      const auto after = request.get_tensor("r" + std::to_string(k) + "o");
      ov::Tensor state(after.get_element_type(), after.get_shape());  // the next frame overwrites the output
      after.copy_to(state);
      request.set_tensor("r" + std::to_string(k) + "i", state);
    }
  }
  std::printf("fgr %g, pha %g\n", errors["fgr"], errors["pha"]);
  return errors["fgr"] <= limit && errors["pha"] <= limit ? 0 : 1;
}
