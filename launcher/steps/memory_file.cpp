#include "launcher/steps/memory_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cerrno>
#include <stdexcept>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"
#include "launcher/steps/fat_volume.hpp"
#include "launcher/text/base64.hpp"

namespace launcher::inline steps {

namespace {

std::string contents(Files& files, const std::string& path) {
  const Fd fd = files.open_file(path, false, false);
  std::string bytes;
  char block[16384];
  while (true) {
    const ssize_t count = read(fd.get(), block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse("read " + path);
    if (count == 0) return bytes;
    bytes.append(block, static_cast<std::size_t>(count));
    if (bytes.size() > most_in_volume) throw std::runtime_error(path + " is too large to be handed to a guest");
  }
}

std::string text_of(Files& files, const std::vector<TextPart>& parts) {
  std::string all;
  for (const TextPart& part : parts) {
    if (part.file.empty()) {
      all += part.text;
      continue;
    }
    const std::string bytes = contents(files, part.file);
    if (part.as == "base64") {
      all += base64(bytes);
    } else if (part.as == "json") {
      const std::string quoted = boost::json::serialize(boost::json::string(bytes));
      all += quoted.substr(1, quoted.size() - 2);
    } else {
      all += bytes;
    }
  }
  return all;
}

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

std::string MakeGuestMemory::describe() const {
  return fmt::format("fill {} of {} pages on node {} while QEMU starts, by {} thread{} on CPU {}", to_string(size),
                     to_string(page), node, threads, threads == 1 ? "" : "s", cpus.to_string());
}
void MakeGuestMemory::perform(PerformContext& context) const {
  HugeFile made = context.host.files.huge_file(
      {.name = id, .size = size, .page = page, .node = node, .policy = policy, .cpus = cpus, .threads = threads});
  context.opened.fds[fd] = std::move(made.fd);
  if (made.filling) context.opened.fillings.push_back(std::move(made.filling));
}

std::string MakeMemoryFile::describe() const { return fmt::format("make {} in memory", what); }
void MakeMemoryFile::perform(PerformContext& context) const {
  context.opened.fds[fd] = context.host.files.memory_file(what, text_of(context.host.files, parts));
}

std::string MakeVolume::describe() const {
  std::string names;
  for (const SeedFile& file : files) names += (names.empty() ? "" : ", ") + file.name;
  return fmt::format("make volume {} in memory: {}", label, names);
}
void MakeVolume::perform(PerformContext& context) const {
  std::vector<VolumeFile> all;
  for (const SeedFile& file : files) all.push_back({file.name, text_of(context.host.files, file.parts)});
  context.opened.fds[fd] = context.host.files.memory_file("volume " + label, fat_volume(label, all));
}

std::string ssh_alias(const std::string& vm) { return "vmrun-" + vm; }

std::string KeepSshKeys::describe() const {
  return fmt::format("make ssh keys in {}, unless they are there", directory);
}
void KeepSshKeys::perform(PerformContext& context) const {
  context.host.files.keep_directory(directory, std::nullopt);
  for (const char* name : {"id", "host_key"})
    context.host.files.keep_ssh_key(ssh_keygen, fmt::format("{}/{}", directory, name), vm);
  context.host.files.keep_text(
      directory + "/known_hosts",
      fmt::format("{} {}\n", ssh_alias(vm), one_line(contents(context.host.files, directory + "/host_key.pub"))));
}

}  // namespace launcher::steps
