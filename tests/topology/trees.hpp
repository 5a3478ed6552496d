// The machines of tests/hosts/trees: kernel files, read as a live machine is read.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <expected>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "tests/topology/scratch.hpp"
#include "topology/capture.hpp"
#include "topology/read_host.hpp"

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<topology::CapturedFile> tree_files(const std::string& name) {
  auto files = topology::parse_capture(text_of(std::string(VMRUN_TESTS) + "/hosts/trees/" + name + ".capture"));
  REQUIRE_MESSAGE(files, (files ? "" : files.error()));
  return *std::move(files);
}

// Captures of machines in tests/hosts itself that hold CPUs and nodes (those composed for `tune` have none), as "../NAME".
inline std::vector<std::string> older_captures() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(VMRUN_TESTS) + "/hosts")) {
    if (entry.path().extension() != ".capture") continue;
    const std::string text = text_of(entry.path());
    if (text.find("/sys/devices/system/node/node0/cpulist") != text.npos)
      names.push_back("../" + entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline std::vector<std::string> tree_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(VMRUN_TESTS) + "/hosts/trees"))
    names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

inline std::expected<topology::HostTopology, std::string> read_files(const std::vector<topology::CapturedFile>& files) {
  const Scratch scratch;
  topology::unpack_capture(files, scratch.root());
  return topology::read_this_host(topology::Devices::skip, topology::Sysfs(scratch.root()));
}

// A tree as it is read, or why it is not. Read once: thousands of files are made for it.
inline const std::expected<topology::HostTopology, std::string>& read_tree(const std::string& name) {
  static std::map<std::string, std::expected<topology::HostTopology, std::string>> known;
  const auto found = known.find(name);
  return found != known.end() ? found->second : known.emplace(name, read_files(tree_files(name))).first->second;
}

inline topology::HostTopology tree(const std::string& name) {
  const auto& host = read_tree(name);
  REQUIRE_MESSAGE(host, (name + (host ? "" : ": " + host.error())));
  return *host;
}
