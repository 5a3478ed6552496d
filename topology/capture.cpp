#include "topology/capture.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <system_error>

#include "topology/cpu_set.hpp"

namespace topology {

namespace {

constexpr std::size_t most_files = 500'000;  // a machine of 4096 CPUs has about a hundred per CPU

// "/cpu{0-1}/x{2,3}" -> the four of them. Error: what is wrong with the braces.
std::expected<std::vector<std::string>, std::string> expand(const std::string& path) {
  const auto open = path.find('{');
  if (open == path.npos) return std::vector{path};
  const auto close = path.find('}', open);
  if (close == path.npos) return std::unexpected("a { without its }");
  const auto numbers = CpuSet::parse(path.substr(open + 1, close - open - 1));
  if (!numbers) return std::unexpected(numbers.error());
  const auto rest = expand(path.substr(close + 1));
  if (!rest) return rest;
  if (numbers->size() * rest->size() > most_files) return std::unexpected("too many files");
  std::vector<std::string> all;
  for (const unsigned number : numbers->to_vector())
    for (const std::string& tail : *rest) all.push_back(path.substr(0, open) + std::to_string(number) + tail);
  return all;
}

// Absolute, without "..", ".", "//": what is below the root stays there.
bool well_formed(std::string_view path) {
  if (!path.starts_with('/') || path.size() > 1000 || path.find('\0') != path.npos) return false;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    at = end + 1;
  }
  return true;
}

class Parser {
 public:
  std::expected<std::vector<CapturedFile>, std::string> parse(std::string_view text) {
    while (!text.empty() && problem_.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      ++line_;
      take(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    for (const CapturedFile& file : files_) refuse_below_link(file.path);
    if (!problem_.empty()) return std::unexpected(problem_);
    return std::move(files_);
  }

 private:
  void wrong(const std::string& what) {
    if (problem_.empty()) problem_ = fmt::format("line {}: {}", line_, what);
  }

  void take(std::string_view line) {
    if (line.starts_with('\t')) {
      if (open_ == files_.size()) return wrong("a line that belongs to no file");
      for (std::size_t i = open_; i < files_.size(); ++i) files_[i].text += std::string(line.substr(1)) + "\n";
      return;
    }
    open_ = files_.size();
    if (line.empty() || line.starts_with('#')) return;
    if (const auto at = line.find(" = "); at != line.npos)
      return add(line.substr(0, at), CapturedFile::Kind::file, std::string(line.substr(at + 3)) + "\n");
    if (const auto at = line.find(" -> "); at != line.npos) {
      const std::string_view target = line.substr(at + 4);
      if (target.empty() || target.find('/') != target.npos || target == "." || target == "..")
        return wrong("a link's target is one name");
      return add(line.substr(0, at), CapturedFile::Kind::link, std::string(target));
    }
    if (line.ends_with(" <")) {
      const std::size_t before = files_.size();
      add(line.substr(0, line.size() - 2), CapturedFile::Kind::file, "");
      open_ = before;
      return;
    }
    if (line.ends_with(" =")) return add(line.substr(0, line.size() - 2), CapturedFile::Kind::file, "");
    if (line.ends_with('/')) return add(line.substr(0, line.size() - 1), CapturedFile::Kind::directory, "");
    wrong("neither `path = text` nor `path <` nor `path -> name` nor `path/`");
  }

  void add(std::string_view pattern, CapturedFile::Kind kind, const std::string& text) {
    const auto paths = expand(std::string(pattern));
    if (!paths) return wrong(paths.error());
    for (const std::string& path : *paths) {
      if (!well_formed(path)) return wrong(fmt::format("'{}' is no absolute path", path));
      if (files_.size() >= most_files) return wrong("too many files");
      files_.push_back({path, kind, text});
      if (kind == CapturedFile::Kind::link) links_.insert(path);
    }
    open_ = files_.size();
  }

  void refuse_below_link(const std::string& path) {
    if (links_.empty()) return;
    for (auto at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1))
      if (links_.contains(path.substr(0, at))) return wrong(fmt::format("'{}' is below a link", path));
  }

  std::vector<CapturedFile> files_;
  std::set<std::string> links_;
  std::size_t open_ = 0;  // the files that a line with a tab belongs to: from here to the end
  std::size_t line_ = 0;
  std::string problem_;
};

[[noreturn]] void failed(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

std::expected<std::vector<CapturedFile>, std::string> parse_capture(std::string_view text) {
  return Parser{}.parse(text);
}

void unpack_capture(const std::vector<CapturedFile>& files, const std::filesystem::path& root) {
  for (const CapturedFile& file : files) {
    const std::filesystem::path path = root / file.path.substr(1);
    if (file.kind == CapturedFile::Kind::directory) {
      std::filesystem::create_directories(path);
      continue;
    }
    std::filesystem::create_directories(path.parent_path());
    if (file.kind == CapturedFile::Kind::link) {
      std::filesystem::remove(path);
      std::filesystem::create_symlink(file.text, path);
      continue;
    }
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    if (!(out << file.text).flush()) failed(path.string());
  }
}

}  // namespace topology
