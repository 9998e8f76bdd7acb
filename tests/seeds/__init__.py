"""Projects of users of MARVELO and pypelinin, as they wrote them: they run as they are."""
