"""python -m export keygen."""

import os

import click

from edgeemo.cli.shell import say


@click.command()
@click.argument("name")
@click.option(
    "--no-password",
    is_flag=True,
    help="Write the key readable for whoever gets the file, as for a secret store that encrypts.",
)
@click.option(
    "--for-images",
    is_flag=True,
    help="A key that signs model.bin, for firmware: ECDSA P-256 in place of Ed25519.",
)
def keygen(name: str, no_password: bool, for_images: bool) -> None:
    """Make a pair of keys: NAME.key, which signs bundles, and NAME.pub, which devices trust.

    The password is asked for, or taken from $EDGEEMO_KEY_PASSWORD. Neither file is ever written
    over: where NAME.key is lost, devices trust a new one only once its NAME.pub is on them.

    \b
    python -m export keygen fleet-2026
    python -m export keygen boards --for-images
    """
    from export.signing.keys import PASSWORD, make_image_key, make_key

    password = os.environ.get(PASSWORD, "")
    if not no_password and not password:
        password = click.prompt(
            f"password for {name}.key", hide_input=True, confirmation_prompt=True, err=True
        )
    make = make_image_key if for_images else make_key
    secret, public, key = make(name, None if no_password else password.encode())
    place = (
        "the firmware (firmware_examples/esp32s3)"
        if for_images
        else "/etc/edgeemo/keys of each device"
    )
    say(f"wrote {secret}: keep it off devices, and a copy of it somewhere else")
    say(f"wrote {public}: {key}; put it into {place}")
