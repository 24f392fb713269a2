// Alpha of raw RGB frames: matte FOLDER.ncnn WIDTH HEIGHT RATIO < frames.rgb > alpha.gray
// The ratio is the one that the model has baked in; the channels of the states are those of MobileNetV3.

#include <ncnn/net.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: matte FOLDER.ncnn WIDTH HEIGHT RATIO\n");
    return 2;
  }
  const std::string folder = argv[1];
  const int width = std::atoi(argv[2]), height = std::atoi(argv[3]), size = width * height;
  const float ratio = std::strtof(argv[4], nullptr);

  ncnn::Net net;
  net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = false;  // float32 on ARM too
  if (net.load_param((folder + "/model.ncnn.param").c_str()) || net.load_model((folder + "/model.ncnn.bin").c_str())) {
    return 1;
  }

  const int channels[] = {16, 20, 40, 64};
  std::vector<ncnn::Mat> states;
  for (int k = 1; k <= 4; ++k) {
    const int side = 1 << k, w = static_cast<int>(width * ratio), h = static_cast<int>(height * ratio);
    states.emplace_back((w + side - 1) / side, (h + side - 1) / side, channels[k - 1]);
    states.back().fill(0.0f);  // the state before the first frame
  }

  std::vector<uint8_t> pixels(3 * static_cast<size_t>(size)), alpha(size);
  while (std::fread(pixels.data(), 1, pixels.size(), stdin) == pixels.size()) {
    ncnn::Mat src = ncnn::Mat::from_pixels(pixels.data(), ncnn::Mat::PIXEL_RGB, width, height);
    const float norm[] = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
    src.substract_mean_normalize(nullptr, norm);

    ncnn::Extractor extractor = net.create_extractor();
    extractor.input("src", src);
    for (int k = 1; k <= 4; ++k) {
      extractor.input(("r" + std::to_string(k) + "i").c_str(), states[k - 1]);
    }
    ncnn::Mat fgr, pha;
    if (extractor.extract("fgr", fgr) || extractor.extract("pha", pha)) {
      return 1;
    }
    for (int pixel = 0; pixel < size; ++pixel) {
      alpha[pixel] = static_cast<uint8_t>(std::lround(255 * pha[pixel]));
    }
    std::fwrite(alpha.data(), 1, alpha.size(), stdout);
    for (int k = 1; k <= 4; ++k) {
      extractor.extract(("r" + std::to_string(k) + "o").c_str(), states[k - 1]);
    }
  }
}
