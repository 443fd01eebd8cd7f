"""Define the accounts of an upstream."""

import ctypes
import ctypes.util
import secrets
import string
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """A user of a registry, for one test."""

    username: str = "puller"
    password: str = "s3cret"


def htpasswd(account: Account) -> str:
    """Return the line of an htpasswd file by bcrypt, which the registry requires.

    Python has no bcrypt; libcrypt has. The cost is 4, the lowest, as the registry checks it for each request.
    """
    library = ctypes.CDLL(ctypes.util.find_library("crypt"))
    library.crypt.restype = ctypes.c_char_p
    salt = "".join(secrets.choice(string.ascii_letters) for _ in range(21))
    hashed = library.crypt(account.password.encode(), f"$2y$04${salt}.".encode())
    return f"{account.username}:{hashed.decode()}\n"
