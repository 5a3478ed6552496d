// The cases in golden/, as the tests read them.
#pragma once

#include <algorithm>
#include <expected>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "launcher/plan/plan.hpp"
#include "launcher/spec/read_spec.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/read_host.hpp"

namespace golden {

namespace fs = std::filesystem;

inline std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

inline std::string line_of(const fs::path& file, const std::string& otherwise) {
  const std::vector<std::string> lines = lines_of(file);
  return lines.empty() ? otherwise : lines.front();
}

// The case's directory is the current one, so that no path in the output depends on where the tree is.
struct WorkingDirectory {
  fs::path before = fs::current_path();
  explicit WorkingDirectory(const fs::path& dir) { fs::current_path(dir); }
  ~WorkingDirectory() { fs::current_path(before); }
  WorkingDirectory(const WorkingDirectory&) = delete;
  WorkingDirectory& operator=(const WorkingDirectory&) = delete;
};

inline topology::HostTopology host_of(const fs::path& dir) {
  const std::string name = line_of(dir / "host", "");
  const fs::path own = dir / name, shared = fs::path(VMRUN_TESTS) / "hosts" / (name + ".json");
  auto host = topology::read_host_argument(name.starts_with("synthetic:") ? name
                                           : fs::exists(own)              ? own.string()
                                                                          : shared.string());
  if (!host) throw std::runtime_error(host.error());
  return std::move(*host);
}

inline launcher::QemuFeatures recorded_qemu(const std::string& version) {
  auto qemu = launcher::features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / (version + ".json")));
  if (!qemu) throw std::runtime_error(qemu.error());
  return std::move(*qemu);
}

// All cases whose name starts so ("plan-", "bad-"), by name.
inline std::vector<fs::path> cases(const std::string& prefix) {
  std::vector<fs::path> dirs;
  for (const auto& entry : fs::directory_iterator(fs::path(VMRUN_TESTS) / "golden"))
    if (entry.path().filename().string().starts_with(prefix)) dirs.push_back(entry.path());
  std::ranges::sort(dirs);
  return dirs;
}

// A plan-* case's plan for this QEMU; the problems where there is none.
inline std::expected<launcher::LaunchPlan, launcher::Problems> plan_of(const launcher::SpecFile& file,
                                                                       const topology::HostTopology& host,
                                                                       const launcher::QemuFeatures& qemu) {
  return launcher::make_plan(file.spec, host, {}, {}, qemu, launcher::assumed_facts(file.spec, host));
}

}  // namespace golden
