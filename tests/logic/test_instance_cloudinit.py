"""What the seed says to the guest: identity, user data in all its forms, addresses matched by MAC."""

from email import message_from_string
from typing import Any

import pytest
import yaml

from controllers.logic.cloudinit import Guest, Interface, NotText, network_config, seed, user_data

UUID = "3b0f1d2c-0000-4000-8000-000000000001"
KEY = "ssh-ed25519 AAAA me"


def guest(data: str | bytes = "", keys: tuple[str, ...] = (KEY,), *nics: Interface) -> Guest:
    raw = data.encode() if isinstance(data, str) else data
    return Guest(uuid=UUID, hostname="web", keys=keys, user_data=raw, interfaces=nics)


def parsed(text: str) -> Any:
    return yaml.safe_load(text)


def test_i2_the_instance_id_is_the_uuid() -> None:
    meta = parsed(seed(guest()).meta_data)
    assert meta == {"instance-id": UUID, "local-hostname": "web", "public-keys": [KEY]}


def test_without_user_data_the_config_is_ours() -> None:
    text = user_data(guest())
    assert text.startswith("#cloud-config\n")
    assert parsed(text) == {"hostname": "web", "preserve_hostname": False, "ssh_authorized_keys": [KEY]}


def test_a_script_stays_a_script() -> None:
    assert user_data(guest("#!/bin/sh\necho hello\n")) == "#!/bin/sh\necho hello\n"


def test_a_multipart_message_stays_as_it_is() -> None:
    text = 'Content-Type: multipart/mixed; boundary="x"\n\n--x--\n'
    assert user_data(guest(text)) == text


def test_keys_are_added_to_a_cloud_config() -> None:
    text = user_data(guest("#cloud-config\nssh_authorized_keys: [ssh-rsa BBBB you]\npackages: [vim]\n"))
    assert parsed(text)["ssh_authorized_keys"] == ["ssh-rsa BBBB you", KEY]
    assert parsed(text)["packages"] == ["vim"] and parsed(text)["hostname"] == "web"


def test_the_users_own_host_name_wins() -> None:
    assert parsed(user_data(guest("#cloud-config\nhostname: mine\n")))["hostname"] == "mine"


@pytest.mark.parametrize("text", ["#cloud-config\n- a list\n", "#cloud-config\n{broken", "#include\nhttp://x/y\n"])
def test_what_cannot_be_merged_becomes_a_part(text: str) -> None:
    message = message_from_string(user_data(guest(text)))
    parts = [p.get_payload(decode=True) for p in message.walk() if not p.is_multipart()]
    assert len(parts) == 2 and parts[1] == text.encode()
    assert parsed(parts[0].decode())["ssh_authorized_keys"] == [KEY]  # type: ignore[union-attr]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(NotText):
        user_data(guest(b"\xff\xfe\x00"))


def test_the_seed_is_the_same_each_time() -> None:
    assert seed(guest("#include\nx\n")) == seed(guest("#include\nx\n"))


def test_no_secret_is_in_a_repr() -> None:
    assert "hunter2" not in repr(guest("#!/bin/sh\npasswd hunter2")) + repr(seed(guest("#!/bin/sh\npasswd hunter2")))


def test_addresses_are_matched_by_mac_and_only_the_primary_routes() -> None:
    lan = Interface(
        name="lan", mac="02:00:00:00:00:01", addresses=("10.91.0.60/24",), gateways=("10.91.0.1",),
        servers=("10.91.0.1",), search=("zone-1.example",), primary=True,
    )  # fmt: skip
    dmz = Interface(name="dmz", mac="02:00:00:00:00:02", addresses=("10.94.0.7/24",), servers=("9.9.9.9",))
    config: Any = network_config([lan, dmz])
    assert config["version"] == 2
    assert config["ethernets"]["lan"] == {
        "match": {"macaddress": "02:00:00:00:00:01"},
        "addresses": ["10.91.0.60/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "10.91.0.1"}],
        "nameservers": {"addresses": ["10.91.0.1"], "search": ["zone-1.example"]},
    }
    assert config["ethernets"]["dmz"] == {"match": {"macaddress": "02:00:00:00:00:02"}, "addresses": ["10.94.0.7/24"]}


def test_ipv6_has_a_default_route_of_its_own() -> None:
    nic = Interface(name="lan", mac="m", addresses=("2001:db8::5/64",), gateways=("2001:db8::1",), primary=True)
    config: Any = network_config([nic])
    assert config["ethernets"]["lan"]["routes"] == [{"to": "::/0", "via": "2001:db8::1"}]


def test_a_nic_without_addresses_asks_the_wire() -> None:
    config: Any = network_config([Interface(name="lan", mac="m", primary=True), Interface(name="two", mac="n")])
    assert config["ethernets"]["lan"]["dhcp4"] is True
    assert config["ethernets"]["two"]["dhcp4-overrides"] == {"use-routes": False, "use-dns": False}
