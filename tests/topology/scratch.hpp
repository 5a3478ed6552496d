// A kernel's files of a test's own: a directory that stands for /.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tests/fakes/temp_dir.hpp"

class Scratch {
 public:
  const std::filesystem::path& root() const { return dir_.path(); }
  void write(std::string_view path, std::string_view text) const {
    fakes::write_file(root() / path.substr(1), std::string(text));
  }

 private:
  fakes::TempDir dir_;
};
