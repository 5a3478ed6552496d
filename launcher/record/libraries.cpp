#include "launcher/record/libraries.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include "launcher/record/elf.hpp"
#include "launcher/record/identity.hpp"

namespace launcher::inline record {

namespace {

namespace fs = std::filesystem;

// Where a loader looks last; which of these it does was decided when it was built.
constexpr std::array last_places{
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"};

// In each directory those for what this CPU can do come first.
const std::vector<std::string>& levels() {
  static const std::vector<std::string> found = [] {
    std::vector<std::string> names;
    if (__builtin_cpu_supports("x86-64-v4")) names.emplace_back("glibc-hwcaps/x86-64-v4/");
    if (__builtin_cpu_supports("x86-64-v3")) names.emplace_back("glibc-hwcaps/x86-64-v3/");
    if (__builtin_cpu_supports("x86-64-v2")) names.emplace_back("glibc-hwcaps/x86-64-v2/");
    names.emplace_back();
    return names;
  }();
  return found;
}

// "/usr/lib/glibc-hwcaps/x86-64-v3/libz.so.1" -> 1 of levels(); nullopt: not for this CPU.
std::optional<std::size_t> level_of(std::string_view path) {
  if (path.find("/glibc-hwcaps/") == path.npos) return levels().size() - 1;
  for (std::size_t i = 0; i + 1 < levels().size(); ++i)
    if (path.find("/" + levels()[i]) != path.npos) return i;
  return std::nullopt;
}

// What ldconfig found, by name (glibc: sysdeps/generic/dl-cache.h).
class LoaderCache {
 public:
  explicit LoaderCache(const topology::Sysfs& root) : text_(root.read("/etc/ld.so.cache").value_or("")) {
    struct {
      std::array<char, 20> magic;
      std::uint32_t entries, texts;
      std::array<std::uint32_t, 5> rest;
    } head{};
    struct {
      std::uint32_t flags, name, path, version;
      std::uint64_t capabilities;
    } entry{};
    constexpr std::string_view wanted = "glibc-ld.so.cache1.1";
    constexpr std::uint32_t flags_of_x86_64 = 0x0303;
    if (text_.size() < sizeof head) return;
    std::memcpy(&head, text_.data(), sizeof head);
    if (std::string_view(head.magic.data(), head.magic.size()) != wanted) return;
    for (std::size_t i = 0, at = sizeof head; i < head.entries && at + sizeof entry <= text_.size();
         ++i, at += sizeof entry) {
      std::memcpy(&entry, text_.data() + at, sizeof entry);
      const std::string path = text(entry.path);
      const auto level = level_of(path);
      if (entry.flags != flags_of_x86_64 || path.empty() || !level) continue;
      const auto [known, is_new] = paths_.try_emplace(text(entry.name), *level, path);
      if (!is_new && *level < known->second.first) known->second = {*level, path};
    }
  }

  std::string path_of(const std::string& name) const {
    const auto found = paths_.find(name);
    return found == paths_.end() ? "" : found->second.second;
  }

 private:
  std::string text(std::size_t at) const { return at < text_.size() ? std::string(text_.c_str() + at) : ""; }

  std::string text_;
  std::map<std::string, std::pair<std::size_t, std::string>> paths_;
};

// A file that is loaded, and who asked for it.
struct Object {
  std::string path;
  Elf elf;
  const Object* asked_by = nullptr;
};

// "$ORIGIN/../lib:/opt/lib" of an object, as directories
std::vector<std::string> directories(const std::string& list, const Object& of) {
  std::vector<std::string> found;
  std::istringstream in(list);
  const std::string origin = fs::path(of.path).parent_path().string();
  for (std::string one; std::getline(in, one, ':');) {
    for (const std::string_view word : {"$ORIGIN", "${ORIGIN}"})
      for (std::size_t at = 0; (at = one.find(word, at)) != one.npos; at += origin.size())
        one.replace(at, word.size(), origin);
    if (!one.empty()) found.push_back(one);
  }
  return found;
}

// DT_RUNPATH is for what this object asks for; DT_RPATH also for what that asks for in its turn, and counts where there is no other.
std::vector<std::string> own_directories(const Object& asking) {
  std::vector<std::string> found;
  if (!asking.elf.runpath.empty()) return directories(asking.elf.runpath, asking);
  for (const Object* object = &asking; object != nullptr; object = object->asked_by)
    if (object->elf.runpath.empty())
      for (std::string& one : directories(object->elf.rpath, *object)) found.push_back(std::move(one));
  return found;
}

std::optional<Object> find(const std::string& name, const Object& asking, const LoaderCache& cache) {
  const auto opened = [&](const std::string& path) -> std::optional<Object> {
    auto elf = read_elf_at(path);
    return elf ? std::optional(Object{path, std::move(*elf), &asking}) : std::nullopt;
  };
  const auto in = [&](const std::string& directory) -> std::optional<Object> {
    for (const std::string& level : levels())
      if (auto found = opened(fmt::format("{}/{}{}", directory, level, name))) return found;
    return std::nullopt;
  };
  if (name.find('/') != name.npos) return opened(name);
  for (const std::string& directory : own_directories(asking))
    if (auto found = in(directory)) return found;
  if (const std::string known = cache.path_of(name); !known.empty())
    if (auto found = opened(known)) return found;
  for (const char* directory : last_places)
    if (auto found = in(directory)) return found;
  return std::nullopt;
}

}  // namespace

std::map<std::string, std::string> libraries_of(const topology::Sysfs& root, const std::string& program) {
  std::map<std::string, std::string> found;
  std::error_code error;
  const std::string itself = fs::canonical(program, error).string();
  auto elf = read_elf_at(itself);
  if (!elf || elf->interpreter.empty()) return found;
  const auto real = [&](const std::string& path) {
    const fs::path whole = fs::canonical(path, error);
    return error ? "" : whole.string();
  };
  found[fs::path(elf->interpreter).filename().string()] = real(elf->interpreter);
  const LoaderCache cache(root);
  std::deque<Object> loaded{Object{itself, std::move(*elf)}};  // breadth first; addresses stay
  for (std::size_t i = 0; i < loaded.size(); ++i)
    for (const std::string& name : loaded[i].elf.needed) {
      if (found.contains(name)) continue;
      auto object = find(name, loaded[i], cache);
      found[name] = object ? real(object->path) : "";
      if (object) loaded.push_back(std::move(*object));
    }
  return found;
}

Values library_facts(const topology::Sysfs& root, const std::string& program) {
  Values facts;
  for (const auto& [name, path] : libraries_of(root, program)) {
    const auto identity = identity_of_program(path);
    facts[name] = identity ? fmt::format("{} {}", fs::path(path).filename().string(), identity->digest) : "not found";
  }
  return facts;
}

}  // namespace launcher::record
