"""How servers are checked and a broker is logged in to: certificates and password, wherever the configuration says."""

from __future__ import annotations

import ssl

from digitcam.core.errors import ConfigError
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.secret import handed, read_file, read_secret

_CERTIFICATE = {
    9: "set this machine's clock: sudo timedatectl set-ntp true",
    10: "renew the broker's certificate, or set this machine's clock if that is wrong",
    62: "write mqtt.host as the certificate has it",
    64: "write mqtt.host as the certificate has it",
}
"""What mends a certificate, by OpenSSL's X509_V_ERR_: not yet valid, expired, for another name, another address."""


def login_mend(config: Mqtt) -> str:
    """Return what to do where a broker refuses a login."""
    if config.cert_file and not config.username:
        return "check mqtt.cert_file"
    return f"check mqtt.username and mqtt.{'password_env' if config.password_env else 'password_file'}"


def tls_mend(error: ssl.SSLError) -> str:
    """Return what to do where no TLS connection comes about."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "check mqtt.port, mqtt.tls and mqtt.cert_file"
    return _CERTIFICATE.get(
        error.verify_code, "name the authority that signed the broker's certificate as mqtt.ca_file"
    )


def password(config: Mqtt) -> str | None:
    """Return the first line of the password's file, or the environment variable; None where neither is named.

    Raises
    ------
    ConfigError
        When the file cannot be read, the variable is not set, or there is nothing in it.
    """
    return read_secret("mqtt", "password", config.password_file, config.password_env)


def tls_context(config: Mqtt) -> ssl.SSLContext:
    """Return what checks the broker's certificate and name, and shows ours where there is one.

    Raises
    ------
    ConfigError
        When a certificate or key cannot be read, is none, needs a passphrase, or does not fit the other.
    """
    context = verifying("mqtt", config.ca_file)
    for key in ("cert_file", "key_file"):
        if path := getattr(config, key):
            read_file(f"mqtt.{key}", path)  # ssl's own errors do not say which file it is
    if config.cert_file:
        key_file = config.key_file or config.cert_file

        def passphrase() -> str:
            # Without this OpenSSL would ask the terminal, and a service wait for an answer for ever.
            raise ConfigError(f"{key_file}: the key is encrypted: write it without a passphrase (openssl pkey)")

        try:
            context.load_cert_chain(handed(config.cert_file), config.key_file and handed(config.key_file), passphrase)
        except ssl.SSLError as error:
            used = f"{config.cert_file}, {key_file}: cannot use mqtt.cert_file and mqtt.key_file"
            raise ConfigError(f"{used}: {error.strerror}") from None
    return context


def verifying(table: str, ca_file: str | None) -> ssl.SSLContext:
    """Return what checks a server's certificate and name, by the certificates in a file or else by the system's.

    Of one's own authority no more is asked than before Python 3.13, which wants extensions that `openssl req -x509`
    does not write. Signatures, dates and the name are checked all the same.

    table
        Of the configuration, for errors.

    Raises
    ------
    ConfigError
        When the file cannot be read, or holds no certificate.
    """
    if ca_file:
        read_file(f"{table}.ca_file", ca_file)
    try:
        context = ssl.create_default_context(cafile=ca_file and handed(ca_file))
    except ssl.SSLError as error:
        raise ConfigError(f"{ca_file}: cannot read {table}.ca_file: {error.strerror}") from None
    if ca_file:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
