// describe, inverse_of, perform and JSON of every step.
#include "launcher/steps/step.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "launcher/host/host.hpp"
#include "launcher/steps/json.hpp"

namespace launcher::inline steps {

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

// The journal's word for each kind, in the variant's order.
constexpr std::array<const char*, std::variant_size_v<Step>> kind_names = {
    "raise_pool",   "trim_pool",      "make_tap",       "open_tap",       "drop_tap",       "make_macvtap",
    "drop_macvtap", "limit_rate",     "open_vhost",     "open_file",      "make_image",     "open_log",
    "listen",       "hold_path",      "make_directory", "pair",           "keep_directory", "copy_once",
    "give_file",    "take_file_back", "start_helper",   "start_qemu",     "end_process",    "make_group",
    "remove_group", "write_control",  "load_module",    "create_vfs",     "remove_vfs",     "set_vf_mac",
    "bind_vfio",    "give_back",      "open_vfio",      "take_usb",       "give_back_usb",  "set_value",
    "put_back",     "keep_beside",    "change_mask",    "make_partition", "end_partition",  "take_cpus",
    "return_cpus"};

void perform_raise(const RaisePool& raise, Host& host) {
  const std::uint64_t before = host.pool_total(raise.node, raise.page);
  const std::uint64_t wanted = before + raise.pages;
  std::uint64_t granted = host.set_pool(raise.node, raise.page, wanted);
  for (int attempt = 0; granted < wanted && attempt < 3; ++attempt) {  // fragmented: compact, ask again
    host.compact_memory(raise.node);
    granted = host.set_pool(raise.node, raise.page, wanted);
  }
  if (granted < wanted) {
    throw std::runtime_error(
        fmt::format("node {} has no room for {} more {} pages: the kernel granted {} (memory is short or fragmented; "
                    "reserve at boot, "
                    "or use smaller pages)",
                    raise.node, raise.pages, to_string(raise.page), granted > before ? granted - before : 0));
  }
}

void perform_trim(const TrimPool& trim, Host& host, const OtherRaises& other_raises) {
  const std::uint64_t total = host.pool_total(trim.node, trim.page);
  const std::uint64_t others_need = trim.floor + other_raises(trim.node, trim.page);
  const std::uint64_t without_ours = total > trim.pages ? total - trim.pages : 0;
  const std::uint64_t target = std::max(others_need, without_ours);
  if (target < total) host.set_pool(trim.node, trim.page, target);
}

void perform_open_file(const OpenFile& file, PerformContext& context, std::optional<unsigned> uid) {
  int& fd = context.opened.fds[file.fd] = context.host.open_file(file.path, file.writable, file.direct);
  if (file.reopened) fd = context.host.readable_copy(fd, uid);
}

void perform_write(const WriteControl& control, Host& host) {
  const std::string now = host.write_control(control.path, control.text);
  std::string wanted = control.expect, word;
  for (const char c : now + "\n") {
    if (c != ' ' && c != '\t' && c != '\n' && c != ';' && c != ':') {
      word += c;
      continue;
    }
    if (word == wanted) return;
    word.clear();
  }
  throw std::runtime_error(fmt::format("{} reads '{}' after '{}' was written", control.path, now, control.text));
}

void perform_listen(const Listen& socket, PerformContext& context) {
  const std::optional<unsigned> owner = socket.for_qemu ? context.uid : std::nullopt;
  context.opened.fds[socket.fd] = context.host.listen(socket.path, owner);
}

}  // namespace

Opened::~Opened() {
  for (const auto& [number, fd] : fds) close(fd);
  if (monitor >= 0) close(monitor);
  for (const Unnamed& file : unnamed) close(file.fd);
}

std::string describe(const Step& step) {
  return std::visit(
      Overloaded{
          [](const RaisePool& s) {
            return fmt::format("raise node {}'s pool of {} pages by {}", s.node, to_string(s.page), s.pages);
          },
          [](const TrimPool& s) {
            return fmt::format("trim node {}'s pool of {} pages by {}, not below {}", s.node, to_string(s.page),
                               s.pages, s.floor);
          },
          [](const OpenFile& s) {
            return fmt::format("open {} {}", s.path, s.writable ? "for reading and writing" : "read-only");
          },
          [](const OpenLog& s) { return fmt::format("open {} for appending", s.path); },
          [](const KeepDirectory& s) {
            return fmt::format("make directory {}{}, unless it is there", s.path, s.for_qemu ? " for QEMU's user" : "");
          },
          [](const CopyOnce& s) { return fmt::format("copy {} to {}, unless it is there", s.from, s.to); },
          [](const GiveFile& s) { return fmt::format("give {} to uid {} while the VM lives", s.path, s.uid); },
          [](const TakeFileBack& s) { return fmt::format("give {} back to uid {}", s.path, s.uid); },
          [](const Listen& s) { return fmt::format("listen on {}", s.path); },
          [](const HoldPath& s) { return fmt::format("find {}", s.path); },
          [](const MakeDirectory& s) { return fmt::format("make directory {} for QEMU", s.path); },
          [](const MakeGroup& s) {
            return fmt::format("make group {}{}", s.path, s.shared ? " if it is not there" : "");
          },
          [](const RemoveGroup& s) {
            return fmt::format("remove group {}{}", s.path, s.shared ? " if it is empty" : "");
          },
          [](const WriteControl& s) { return fmt::format("write {} to {}", s.text, s.path); },
          [](const NetStep auto& s) { return describe(s); },
          [](const ProcessStep auto& s) { return describe(s); },
          [](const PciStep auto& s) { return describe(s); },
          [](const SettingStep auto& s) { return describe(s); },
          [](const IsolationStep auto& s) { return describe(s); },
      },
      step);
}

std::vector<Step> inverse_of(const Step& step) {
  return std::visit(Overloaded{
                        [](const RaisePool& s) {
                          return std::vector<Step>{TrimPool{s.node, s.page, s.pages, s.floor}};
                        },
                        [](const MakeTap& s) { return std::vector<Step>{DropTap{s.name}}; },
                        [](const MakeMacvtap& s) {
                          return std::vector<Step>{DropMacvtap{s.name, s.mac}};
                        },
                        // goes with the interface, which is ours
                        [](const LimitRate&) { return std::vector<Step>{}; },
                        // EndProcess{pid} is journalled by perform(), between fork and exec
                        [](const StartQemu&) { return std::vector<Step>{}; },
                        [](const StartHelper&) { return std::vector<Step>{}; },
                        [](const Pair&) { return std::vector<Step>{}; },
                        // what lies in the VM's directory goes with it
                        [](const Listen&) { return std::vector<Step>{}; },
                        // state outlives a run
                        [](const KeepDirectory&) { return std::vector<Step>{}; },
                        [](const CopyOnce&) { return std::vector<Step>{}; },
                        [](const OpenLog&) { return std::vector<Step>{}; },
                        [](const GiveFile& s) {
                          return std::vector<Step>{TakeFileBack{s.path, s.before_uid, s.before_gid}};
                        },
                        // undo steps, and opens that end with their fds
                        [](const TrimPool&) { return std::vector<Step>{}; },
                        [](const TakeFileBack&) { return std::vector<Step>{}; },
                        [](const OpenTap&) { return std::vector<Step>{}; },
                        [](const DropTap&) { return std::vector<Step>{}; },
                        [](const DropMacvtap&) { return std::vector<Step>{}; },
                        [](const HoldPath&) { return std::vector<Step>{}; },
                        [](const MakeDirectory&) { return std::vector<Step>{}; },
                        [](const OpenVhost&) { return std::vector<Step>{}; },
                        [](const OpenFile&) { return std::vector<Step>{}; },
                        [](const MakeImage&) { return std::vector<Step>{}; },
                        [](const EndProcess&) { return std::vector<Step>{}; },
                        [](const MakeGroup& s) {
                          return std::vector<Step>{RemoveGroup{s.path, s.shared}};
                        },
                        [](const RemoveGroup&) { return std::vector<Step>{}; },
                        [](const WriteControl&) { return std::vector<Step>{}; },
                        [](const LoadModule&) { return std::vector<Step>{}; },
                        [](const CreateVfs& s) {
                          return std::vector<Step>{RemoveVfs{s.physical, s.count}};
                        },
                        [](const RemoveVfs&) { return std::vector<Step>{}; },
                        [](const SetVfMac& s) {
                          if (s.found.empty()) return std::vector<Step>{};  // it goes with the function
                          return std::vector<Step>{SetVfMac{s.interface, s.vf, s.found, ""}};
                        },
                        [](const BindVfio& s) {
                          return std::vector<Step>{GiveBack{s.address, s.driver, s.driver_override}};
                        },
                        [](const GiveBack&) { return std::vector<Step>{}; },
                        [](const OpenVfio&) { return std::vector<Step>{}; },
                        [](const TakeUsb& s) { return std::vector<Step>{GiveBackUsb{s.port}}; },
                        [](const GiveBackUsb&) { return std::vector<Step>{}; },
                        [](const SetValue& s) {
                          return std::vector<Step>{PutBack{s.path, s.value, s.before}};
                        },
                        [](const PutBack&) { return std::vector<Step>{}; },
                        [](const KeepBeside& s) {
                          if (s.undo) return std::vector<Step>{};
                          return std::vector<Step>{KeepBeside{s.path, s.value, s.beside, s.reads, true}};
                        },
                        [](const ChangeMask& s) {
                          if (s.undo) return std::vector<Step>{};
                          return std::vector<Step>{ChangeMask{s.path, s.add, s.remove, s.back_on, true}};
                        },
                        [](const MakePartition& s) { return std::vector<Step>{EndPartition{s.path}}; },
                        [](const EndPartition&) { return std::vector<Step>{}; },
                        [](const TakeCpus& s) {
                          return std::vector<Step>{ReturnCpus{s.path, s.cpus}};
                        },
                        [](const ReturnCpus&) { return std::vector<Step>{}; },
                    },
                    step);
}

void perform(const Step& step, PerformContext& context) {
  std::visit(
      Overloaded{
          [&](const RaisePool& s) { perform_raise(s, context.host); },
          [&](const TrimPool& s) { perform_trim(s, context.host, context.other_raises); },
          [&](const OpenFile& s) { perform_open_file(s, context, context.uid); },
          [&](const Listen& s) { perform_listen(s, context); },
          [&](const HoldPath& s) { context.opened.fds[s.fd] = context.host.hold_path(s.path); },
          [&](const MakeDirectory& s) { context.opened.fds[s.fd] = context.host.make_directory(s.path, context.uid); },
          [&](const OpenLog& s) { context.opened.fds[s.fd] = context.host.append_to(s.path); },
          [&](const KeepDirectory& s) { context.host.keep_directory(s.path, s.for_qemu ? context.uid : std::nullopt); },
          [&](const CopyOnce& s) { context.host.copy_once(s.from, s.to); },
          [&](const GiveFile& s) { context.host.give_file(s.path, s.uid, s.gid); },
          [&](const TakeFileBack& s) { context.host.give_file(s.path, s.uid, s.gid); },
          [&](const MakeGroup& s) { context.host.make_group(s.path, s.shared); },
          [&](const RemoveGroup& s) { context.host.remove_group(s.path, s.shared); },
          [&](const WriteControl& s) { perform_write(s, context.host); },
          [&](const NetStep auto& s) { perform(s, context); },
          [&](const ProcessStep auto& s) { perform(s, context); },
          [&](const PciStep auto& s) { perform(s, context); },
          [&](const SettingStep auto& s) { perform(s, context); },
          [&](const IsolationStep auto& s) { perform(s, context); },
      },
      step);
}

boost::json::value to_json(const Step& step) {
  boost::json::object out;
  std::visit([&](const auto& s) { out[kind_names[step.index()]] = topology::json::write(s); }, step);
  return out;
}

std::expected<Step, std::string> step_from_json(const boost::json::value& json) {
  const boost::json::object* object = json.if_object();
  if (object == nullptr || object->size() != 1) return std::unexpected("a step is an object of one member");
  const std::string_view kind = object->begin()->key();
  const boost::json::value& body = object->begin()->value();
  std::expected<Step, std::string> result = std::unexpected(fmt::format("unknown step '{}'", kind));
  boost::mp11::mp_for_each<boost::mp11::mp_iota_c<std::variant_size_v<Step>>>([&](auto index) {
    if (kind != kind_names[index]) return;
    try {
      result = Step{topology::json::read<std::variant_alternative_t<index, Step>>(body, std::string(kind))};
    } catch (const std::invalid_argument& wrong) {
      result = std::unexpected(wrong.what());
    }
  });
  return result;
}

}  // namespace launcher::inline steps
