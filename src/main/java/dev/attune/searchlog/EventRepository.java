package dev.attune.searchlog;

import java.util.Collection;
import java.util.List;
import org.springframework.data.domain.Limit;
import org.springframework.data.domain.ScrollPosition;
import org.springframework.data.domain.Window;
import org.springframework.data.jpa.repository.Query;
import org.springframework.data.repository.Repository;

interface EventRepository extends Repository<EventRow, String> {

  List<EventRow> findByEventIdIn(Collection<String> eventIds);

  Window<EventRow> findFirst500ByUserIdOrderByOccurredAtAscEventIdAsc(String userId, ScrollPosition position);

  @Query(
      "select e from EventRow e where e.userId = ?1 and e.sessionId = ?2 and e.visit"
          + " order by e.occurredAt desc, e.eventId")
  List<EventRow> newestVisitsOfSession(String userId, String sessionId, Limit limit);
}
