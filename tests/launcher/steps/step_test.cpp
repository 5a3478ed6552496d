// One step at a time over a fake host: what it says, what undoes it, its JSON, and the arithmetic of the pools.
#include "launcher/steps/step.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/steps/doing.hpp"
#include "tests/launcher/steps/kinds.hpp"

namespace {

using namespace launcher;
using kinds::one_of_each;
using kinds::one_undo_of_each;
using kinds::some_child;
using topology::CpuSet;
using topology::gib;
using topology::mib;

struct Bench : Doing {
  template <class Kind>
  void perform(const Kind& kind) {
    run(kind);
  }
};

}  // namespace

TEST_CASE("there is a test value for every kind of step, of undo and of change") {
  const auto in_order = [](const auto& values, std::size_t kinds) {
    std::size_t kind = 0;
    for (const auto& value : values) kind += value.index() == kind + 1 ? 1 : 0;
    return kind + 1 == kinds && values.front().index() == 0;
  };
  CHECK(in_order(one_of_each(), std::variant_size_v<Step>));
  CHECK(in_order(one_undo_of_each(), std::variant_size_v<Undo>));
  std::set<std::size_t> changes;
  for (const Step& step : one_of_each())
    if (const auto* change = std::get_if<ChangeFile>(&step)) changes.insert(change->change.index());
  CHECK(changes.size() == std::variant_size_v<Change>);
}

TEST_CASE("every step survives JSON, as text too") {
  for (const Step& step : one_of_each()) {
    INFO(describe(step));
    const std::string text = boost::json::serialize(to_json(step));
    CHECK(text.find('\n') == std::string::npos);  // one line of a journal
    const auto back = step_from_json(boost::json::parse(text));
    REQUIRE_MESSAGE(back.has_value(), (back ? "" : back.error()));
    CHECK(*back == step);
  }
  for (const Undo& undo : one_undo_of_each()) {
    const std::string text = boost::json::serialize(to_json(undo));
    CHECK(text.find('\n') == std::string::npos);
    CHECK(undo_from_json(boost::json::parse(text)) == undo);
  }
}

TEST_CASE("kinds of versions 0 and 1 are read only where they stood then, and whole") {
  const auto step = [](const char* text) { return step_from_json(boost::json::parse(text)); };
  const auto undo = [](const char* text) { return undo_from_json(boost::json::parse(text)); };
  CHECK(undo(R"({"set_value":{"path":"/p","before":"60","value":"10"}})").error() == "unknown kind 'set_value'");
  CHECK(step(R"({"put_back":{"path":"/p","ours":"10","before":"60"}})").error() == "unknown kind 'put_back'");
  CHECK(undo(R"({"put_back":{"path":"/p","ours":"10"}})").error() ==
        "change_back.change.value.value: wanted to be there");
  CHECK(undo(R"({"put_back":7})").error() == "unknown kind 'put_back'");
}

TEST_CASE("nothing but an undo is read as one") {
  for (const Step& step : one_of_each()) CHECK(!undo_from_json(to_json(step)));
}

TEST_CASE("what is no step is refused with what is wrong") {
  const auto refused = [](const char* text) {
    const auto step = undo_from_json(boost::json::parse(text));
    return step ? std::string("accepted") : step.error();
  };
  CHECK(refused("7") == "wanted an object of one member, its kind");
  CHECK(refused("{}") == "wanted an object of one member, its kind");
  CHECK(refused(R"({"drop_tap":{"name":"a"},"x":1})") == "wanted an object of one member, its kind");
  CHECK(refused(R"({"burn_host":{}})") == "unknown kind 'burn_host'");
  CHECK(refused(R"({"drop_tap":{"name":7}})") == "drop_tap.name: wanted a string");
  CHECK(refused(R"({"drop_tap":{}})").find("drop_tap.name") == 0);
  CHECK(refused(R"({"trim_pool":{"node":-1,"page":"2M","pages":1,"floor":0}})") ==
        "trim_pool.node: wanted a number in range");
  CHECK(refused(R"({"end_process":{"process":{"pid":1}}})").find("end_process.process.start") == 0);
}

TEST_CASE("a step says what it does in a person's words") {
  CHECK(describe(Step{RaisePool{1, mib(2), 256}}) == "raise node 1's pool of 2M pages by 256");
  CHECK(describe(Undo{TrimPool{1, gib(1), 3, 8}}) == "trim node 1's pool of 1G pages by 3");
  CHECK(describe(Step{MakeTap{"v.0", "br0", 9000, {10, 11}}}) == "make tap v.0 with 2 queues, MTU 9000, on bridge br0");
  CHECK(describe(Step{MakeTap{"v.0", "", std::nullopt, {10}}}) == "make tap v.0 with 1 queue");
  CHECK(describe(Step{OpenVhost{{1}}}) == "open /dev/vhost-net once");
  CHECK(describe(Step{OpenVhost{{1, 2}}}) == "open /dev/vhost-net 2 times");
  CHECK(describe(Step{MakeMacvtap{"v.1", "eth0", "vepa", "52:54:00:01:02:03", 9000, {20, 21}}}) ==
        "make macvtap v.1 over eth0, mode vepa, 2 queues, address 52:54:00:01:02:03, MTU 9000");
  CHECK(describe(Step{LimitRate{"v.0", 1'000'000'000, 64'000}}) ==
        "limit v.0: the guest receives at most 1 Gbit/s, sends at most 64 kbit/s");
  CHECK(describe(Step{LimitRate{"v.0", 0, 2'500'000}}) == "limit v.0: the guest sends at most 2500 kbit/s");
  for (const Step& step : one_of_each()) CHECK(!describe(step).empty());
  for (const Undo& undo : one_undo_of_each()) CHECK(!describe(undo).empty());
}

TEST_CASE("what undoes each step") {
  CHECK(undo_of(RaisePool{1, mib(2), 256}) == std::vector<Undo>{TrimPool{1, mib(2), 256, std::nullopt}});
  CHECK(undo_of(MakeTap{"v.0", "br0", 9000, {10}}) == std::vector<Undo>{DropTap{"v.0"}});
  CHECK(undo_of(MakeMacvtap{"v.1", "eth0", "vepa", "52:54:00:01:02:03", 9000, {20}}) ==
        std::vector<Undo>{DropMacvtap{"v.1", "52:54:00:01:02:03"}});
  CHECK(undo_of(LimitRate{"v.0", 1'000'000, 0}).empty());  // goes with the tap
  CHECK(undo_of(Listen{"/a", 3}).empty());
  CHECK(undo_of(GiveFile{"/p", 5, 6, 7, 8}) == std::vector<Undo>{TakeFileBack{"/p", 7, 8}});
  CHECK(undo_of(CopyOnce{"/a", "/b"}).empty());  // state is kept
  CHECK(undo_of(StartQemu{some_child(), 16, "/log"}).empty());
  CHECK(undo_of(OpenTap{"tap0", true, {10}}).empty());  // somebody else's: never removed
}

namespace {
std::string pool(unsigned node) {
  return "/sys/devices/system/node/node" + std::to_string(node) + "/hugepages/hugepages-2048kB/nr_hugepages";
}
}  // namespace

TEST_CASE("a pool is raised by the deficit, on top of whatever is there") {
  Bench bench;
  bench.host.add_pool({.node = 1, .page = mib(2), .total = 100});
  bench.perform(RaisePool{1, mib(2), 28});
  CHECK(bench.host.total(1, mib(2)) == 128);
  CHECK(bench.host.log() == std::vector<std::string>{"write " + pool(1) + " 128"});
}

TEST_CASE("fragmented memory is compacted and asked again") {
  Bench bench;
  bench.host.add_pool({.node = 0, .page = mib(2), .total = 100, .most = 1000, .fragmented = true});
  bench.perform(RaisePool{0, mib(2), 40});
  CHECK(bench.host.total(0, mib(2)) == 140);
  CHECK(bench.host.log() == std::vector<std::string>{"write " + pool(0) + " 140",
                                                     "write /sys/devices/system/node/node0/compact 1",
                                                     "write " + pool(0) + " 140"});
}

TEST_CASE("pages the kernel does not grant are an error with numbers") {
  Bench bench;
  bench.host.add_pool({.node = 0, .page = mib(2), .total = 100, .most = 130});
  CHECK_THROWS_WITH(bench.perform(RaisePool{0, mib(2), 40}),
                    "node 0 has no room for 40 more 2M pages: the kernel granted 30 (memory is short or fragmented; "
                    "reserve at boot, or use smaller pages)");
  CHECK(bench.host.total(0, mib(2)) == 130);  // its undo, journalled before, takes these back
}

TEST_CASE("what was raised is given back, never more, whatever others did meanwhile") {
  struct Row {
    const char* when;
    std::uint64_t total, pages, before;
    bool done;
    std::uint64_t result;
  };
  const Row rows[] = {
      {"the plain case", 128, 28, 100, true, 100},
      {"the raise never happened", 100, 28, 100, false, 100},
      {"the raise was granted in part", 110, 28, 100, false, 100},
      {"another VM raised it too", 178, 28, 100, true, 150},
      {"the administrator raised it in between", 228, 28, 100, true, 200},
      {"its owner took 20 of 20 meanwhile: ours is all that is left", 48, 48, 20, true, 0},
      {"its owner took some of his", 60, 28, 100, true, 32},
      {"somebody took more than his", 20, 28, 100, true, 0},
      {"an empty pool", 0, 28, 100, true, 0},
      {"an empty pool before", 28, 28, 0, true, 0},
      {"nothing was raised", 100, 0, 100, true, 100},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.when));
    Bench bench;
    bench.host.add_pool({.node = 0, .page = mib(2), .total = row.total});
    bench.run(Undo{TrimPool{0, mib(2), row.pages, row.before}}, row.done);
    CHECK(bench.host.total(0, mib(2)) == row.result);
    CHECK(bench.host.verbs() == (row.result == row.total ? 0 : 1));  // a pool that is right already is not written
  }
}

TEST_CASE("a tap is made, set up, and gone with its last fd") {
  Bench bench;
  bench.perform(MakeTap{"v.0", "br0", 9000, {10, 11}});
  CHECK(bench.host.log() == std::vector<std::string>{"has_interface v.0", "make_tap v.0 2", "set_mtu v.0 9000",
                                                     "join_bridge v.0 br0", "set_up v.0"});
  REQUIRE(bench.opened.fds.size() == 2);
  CHECK(bench.opened.fds.at(10).get() != bench.opened.fds.at(11).get());
  CHECK(bench.host.tap_exists("v.0"));
  CHECK_THROWS_WITH_AS(bench.run(Undo{DropTap{"v.0"}}), "tap v.0 is still there: some process holds it open",
                       std::runtime_error);
  bench.opened.fds.clear();
  bench.run(Undo{DropTap{"v.0"}});
  CHECK(!bench.host.tap_exists("v.0"));
  bench.run(Undo{DropTap{"v.0"}});  // gone already: fine
}

TEST_CASE("a bridge's port gets its VLAN, which goes with it") {
  Bench bench;
  bench.perform(MakeTap{"v.0", "br0", {}, {10}});
  const TagPort tag{"v.0", "br0", 100};
  CHECK(undo_of(tag).empty());
  bench.perform(tag);
  CHECK(bench.host.log().back() == "set_port_vlan v.0 br0 100");
}

TEST_CASE("a virtual function's port gets back what was changed of it, and nothing else") {
  Bench bench;
  const SetVfPort port{"ens1f0", 2, {100, {}, false}, {7, {}, true}};
  CHECK(undo_of(port) == std::vector<Undo>{GiveVfPortBack{"ens1f0", 2, {7, {}, true}}});
  bench.perform(port);
  CHECK(bench.host.log().back() == "set_vf_port ens1f0 2 100 - 0");
  bench.run(undo_of(port).front());
  CHECK(bench.host.log().back() == "set_vf_port ens1f0 2 7 - 1");
  CHECK(undo_of(SetVfPort{"ens1f0", 2, {100, {}, {}}, {}}).empty());  // made by us: it goes with the function
}

TEST_CASE("a tap of somebody else's is opened and never changed") {
  Bench bench;
  bench.host.add_persistent_tap("tap0");
  bench.perform(OpenTap{"tap0", true, {10, 11}});
  CHECK(bench.host.log() == std::vector<std::string>{"open_tap tap0 2"});
  CHECK_THROWS_AS(bench.perform(OpenTap{"tap1", true, {12}}), std::system_error);
}

TEST_CASE("a macvtap stays until it is dropped, and only ours is") {
  Bench bench;
  bench.perform(MakeMacvtap{"v.1", "eth0", "bridge", "52:54:00:01:02:03", 9000, {10, 11}});
  bench.perform(LimitRate{"v.1", 1'000'000, 0});
  CHECK(bench.host.log() == std::vector<std::string>{"has_interface v.1",
                                                     "make_macvtap v.1 eth0 bridge 52:54:00:01:02:03 2",
                                                     "set_mtu v.1 9000", "set_up v.1", "limit_rate v.1 1000000 0"});
  REQUIRE(bench.opened.fds.size() == 2);
  const std::string with = bench.host.snapshot(bench.dir / "none");
  CHECK(with.find("macvtap v.1") != std::string::npos);
  bench.run(Undo{DropMacvtap{"v.1", "52:54:00:00:00:00"}});  // of that name, but not that address
  CHECK(bench.host.snapshot(bench.dir / "none") == with);
  bench.run(Undo{DropMacvtap{"v.1", "52:54:00:01:02:03"}});
  CHECK(bench.host.snapshot(bench.dir / "none").find("macvtap") == std::string::npos);
  bench.run(Undo{DropMacvtap{"v.1", "52:54:00:01:02:03"}});  // gone already: fine
}

TEST_CASE("files are opened as asked; those QEMU opens again pass through a readable copy") {
  Bench bench;
  bench.host.add_file("/image");
  bench.perform(OpenFile{"/image", true, false, 20});
  bench.perform(OpenFile{"/image", false, true, 21});
  CHECK(bench.host.log() ==
        std::vector<std::string>{"open_file /image rw", "open_file /image", "readable_copy for 1000"});
  CHECK(bench.opened.fds.size() == 2);
  CHECK_THROWS_AS(bench.perform(OpenFile{"/nowhere/image", false, false, 22}), std::system_error);
  bench.perform(OpenVhost{{23, 24}});
  CHECK(bench.opened.fds.size() == 4);
}

TEST_CASE("a new image has no name, and is opened for QEMU; one that cannot be made says why") {
  Bench bench;
  const auto write_program = [&](const std::string& text) {
    const std::string path = bench.dir / "qemu-img";
    std::ofstream(path) << "#!/bin/sh\n" << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  };
  // $7 is /dev/fd/3, the file; $8 its size
  MakeImage image{
      bench.dir.path(),  "new.raw", "raw", mib(1), "off", write_program("truncate -s $8 $7 && echo made >>$7"),
      bench.dir / "log", 20,        false};
  bench.perform(image);
  CHECK(!std::filesystem::exists(bench.dir / "new.raw"));
  REQUIRE(bench.journal.size() == 1);  // ending qemu-img
  REQUIRE(bench.opened.unnamed.size() == 1);
  CHECK(bench.opened.unnamed[0].path == (bench.dir / "new.raw"));
  CHECK(lseek(bench.opened.fds.at(20).get(), 0, SEEK_END) == (1 << 20) + 5);
  bench.host.files.name_file(bench.opened.unnamed[0].fd.get(), bench.opened.unnamed[0].path);
  CHECK(std::filesystem::file_size(bench.dir / "new.raw") == (1u << 20) + 5);
  CHECK_THROWS_AS(bench.host.files.name_file(bench.opened.unnamed[0].fd.get(), bench.opened.unnamed[0].path),
                  std::system_error);
  image.qemu_img = write_program("echo no room; exit 3");
  image.fd = 21;
  image.log = bench.dir / "log2";
  CHECK_THROWS_WITH(bench.perform(image), doctest::Contains("ended with 3: no room"));
  CHECK(!bench.opened.fds.contains(21));
}

TEST_CASE("QEMU's pid is journalled before it runs; its fds are no longer ours afterwards") {
  Bench bench;
  bench.host.add_file("/image");
  bench.perform(OpenFile{"/image", true, false, 20});
  const int ours = bench.opened.fds.at(20).get();
  StartQemu start;
  start.child.argv = {"/bin/sh", "-c",
                      "[ -e /proc/self/fd/20 ] && [ -e /proc/self/fd/30 ] && echo up && exec sleep 60"};
  start.monitor_fd = 30;
  start.log = bench.dir / "qemu.log";
  bench.perform(start);
  REQUIRE(bench.opened.qemu);
  CHECK(bench.journal == std::vector<Undo>{EndProcess{*bench.opened.qemu}});
  CHECK(bench.opened.fds.empty());
  CHECK(fcntl(ours, F_GETFD) < 0);
  CHECK(static_cast<bool>(bench.opened.monitor));
  for (int i = 0; i < 200 && fakes::read_file(start.log).empty(); ++i, bench.opened.logs.read_some()) usleep(10'000);
  CHECK(fakes::read_file(start.log) == "up\n");
  bench.run(Undo{EndProcess{*bench.opened.qemu}});
  CHECK(!is_alive(*bench.opened.qemu));
  bench.run(Undo{EndProcess{*bench.opened.qemu}});  // gone already: fine
}

TEST_CASE("a group is made once, holds what is written, and goes; a shared one stays while it is in use") {
  Bench bench;
  bench.perform(MakeGroup{"/g/vmrun", true});
  CHECK(bench.journal == std::vector<Undo>{RemoveGroup{"/g/vmrun", true}});
  bench.perform(MakeGroup{"/g/vmrun", true});
  CHECK(bench.journal.size() == 1);  // somebody else's: it stays
  bench.others_have = true;
  bench.perform(MakeGroup{"/g/vmrun", true});
  CHECK(bench.journal.size() == 2);  // another VM made it: the last one removes it
  bench.perform(MakeGroup{"/g/vmrun/vm-db", false});
  CHECK_THROWS(bench.perform(MakeGroup{"/g/vmrun/vm-db", false}));
  bench.perform(ChangeFile{"/g/vmrun/vm-db/cpu.max", Word{"150000 100000", "150000"}});
  CHECK_THROWS_WITH(bench.perform(ChangeFile{"/g/vmrun/vm-db/cpu.max", Word{"1500000 100000", "150000"}}),
                    "/g/vmrun/vm-db/cpu.max reads '1500000 100000' after '1500000 100000' was written");
  bench.perform(ChangeFile{"/g/vmrun/vm-db/schemata", Word{"L3:0=f0;1=f", "1=f"}});
  CHECK_THROWS(bench.perform(ChangeFile{"/g/vmrun/vm-db/schemata", Word{"L3:0=f0;1=ff", "1=f"}}));
  bench.run(Undo{RemoveGroup{"/g/vmrun", true}});  // in use
  CHECK_THROWS(bench.run(Undo{RemoveGroup{"/g/vmrun", false}}));
  bench.run(Undo{RemoveGroup{"/g/vmrun/vm-db", false}});
  bench.run(Undo{RemoveGroup{"/g/vmrun/vm-db", false}});  // gone already: fine
  bench.run(Undo{RemoveGroup{"/g/vmrun", true}});
  CHECK_THROWS(bench.perform(ChangeFile{"/g/vmrun/vm-db/cpu.max", Word{"1", "1"}}));
}

TEST_CASE("a step that something speaks against owes nothing") {
  Bench bench;
  bench.host.add_persistent_tap("v.0");  // of the name that the VM's tap would have
  CHECK_THROWS_WITH(bench.perform(MakeTap{"v.0", "br0", 9000, {10}}),
                    "an interface v.0 is there already, and is not this VM's");
  CHECK_THROWS(bench.perform(MakeMacvtap{"v.0", "eth0", "bridge", "52:54:00:01:02:03", 9000, {10}}));
  bench.host.kernel.make_group("/g/vm-db", false);
  CHECK_THROWS_WITH(bench.perform(MakeGroup{"/g/vm-db", false}), "it is there already, and is not this VM's");
  bench.host.add_function("0000:81:00.0", "nvme");
  CHECK_THROWS_WITH(bench.perform(BindVfio{"0000:81:00.0", "iavf", ""}),
                    "it changed since it was looked at: driver iavf was bound, now driver nvme is");
  CHECK(bench.journal.empty());
}
